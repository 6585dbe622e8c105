"""What an environment has lost, asked of a real registry and a real repository."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from envctl.conductor import gone
from envctl.host import owner
from envctl.host.git import find_checkout
from envctl.host.registry import EnvironmentRecord, Registry
from envctl.model import BranchSource, EnvironmentState
from envctl.plan import naming

PLAIN = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A repository on a branch without commits, which is there only as long as it is checked out."""
    folder = tmp_path.resolve() / "shop"
    subprocess.run(["git", "init", "--quiet", "-b", "feature", str(folder)], env=PLAIN, check=True)
    return folder


def _ready(registry: Registry, checkout: Path, source: str = "git") -> EnvironmentRecord:
    identity = naming.identify(find_checkout(checkout, PLAIN), None)
    made, _ = registry.claim(identity, engine="compose", endpoint="unix:///x", branch_source=source)
    return replace(made, state=EnvironmentState.READY)


def _lose_the_branch(shop: Path) -> None:
    subprocess.run(["git", "symbolic-ref", "HEAD", "refs/heads/other"], cwd=shop, env=PLAIN, check=True)


@pytest.mark.parametrize("source", [*map(str, BranchSource), ""])
def test_only_a_branch_of_git_can_be_gone(registry: Registry, shop: Path, source: str) -> None:
    """Git cannot know of the others; a checkout that was removed is gone with any."""
    record = _ready(registry, shop, source)
    assert gone.cause(record) is None
    _lose_the_branch(shop)
    assert gone.cause(record) == ("its branch is gone: feature" if source == "git" else None)
    shutil.rmtree(shop)
    assert gone.cause(record) == f"its checkout is gone: {shop}"
    assert gone.cause(replace(record, checkout_mark="")) is None, "nothing proves it"


def test_data_that_is_kept_on_purpose_is_not_collected(registry: Registry, shop: Path) -> None:
    """An environment that is down keeps only what `persist: true` asks for."""
    record = _ready(registry, shop)
    _lose_the_branch(shop)
    assert gone.cause(replace(record, state=EnvironmentState.DOWN)) is None


@pytest.mark.parametrize("state", [EnvironmentState.CREATING, EnvironmentState.REMOVING])
def test_what_a_killed_command_left_is_collected(registry: Registry, shop: Path, state: EnvironmentState) -> None:
    """Never what a living one works on, and what is ready has nobody at work."""
    record = replace(_ready(registry, shop), state=state)
    dead = replace(owner.current(), start_ticks=1)
    assert gone.cause(record) is None
    assert "was killed" in (gone.cause(replace(record, owner=dead)) or "")
    assert gone.cause(replace(record, owner=dead, state=EnvironmentState.READY)) is None


def test_a_row_of_before_has_no_proof(registry: Registry, shop: Path) -> None:
    """What an upgrade or a repair cannot know is empty, and read back so; what is known is read back as it was."""
    record = _ready(registry, shop)
    (found,) = registry.all()
    assert found.checkout_mark == record.checkout_mark != ""
    registry.forget(record.identity.name)
    registry.restore([replace(record, checkout_mark="", branch_source="")], scope="x")
    (found,) = registry.all()
    assert (found.checkout_mark, found.branch_source) == ("", "")
