"""Stacks of processes found again by their files alone."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_stacks import REGISTRY, Stacks, definition, stacks_in

from envctl.engines.local import folders, labelled, records, removal
from envctl.model import Found, Stack


@pytest.fixture
def stacks(tmp_path: Path) -> Iterator[Stacks]:
    with stacks_in(tmp_path) as made:
        yield made


def find(stacks: Stacks, engine: str = "embedded", registry: str = REGISTRY) -> list[Found]:
    return labelled.find_all(folders.stacks(stacks.state), engine, registry)


def change(stacks: Stacks, stack: Stack, path: str, value: Any) -> None:
    """Damage one value of a stack's file, given by its keys."""
    file = stacks.folder(stack) / labelled.FILE
    content = json.loads(file.read_text())
    *keys, last = path.split(".")
    part = content
    for key in keys:
        part = part[key]
    part[last] = value
    file.write_text(json.dumps(content))


def test_a_stack_is_found_whole(stacks: Stacks) -> None:
    """Identity, ports and passwords come back as they were, so that a lost registry costs nothing."""
    stack = stacks.stack(host="10.0.0.5", publish_address="0.0.0.0", subnet="10.213.4.16/28")  # noqa: S104 - never bound
    stacks.up(stack, {"app": definition()})
    (found,) = find(stacks)
    assert found.stack == stack
    assert (found.identity.project, found.identity.branch, found.identity.label) == ("shop", "main", "")
    assert (found.identity.name, found.identity.checkout) == ("shop-main-0123abcd", "/home/me/shop")
    assert found.identity.key == "k" * 64
    assert (found.config_file, found.expires_at) == (None, None)
    assert found.created_at == "2026-11-22T10:00:00+00:00"
    assert not found.only_data


@pytest.mark.parametrize("mask", [0o000, 0o777])
def test_passwords_are_for_nobody_else(stacks: Stacks, mask: int) -> None:
    """The file is private whatever the umask; no other file and no argument holds a password."""
    stack = stacks.stack()
    before = os.umask(mask)
    try:
        stacks.up(stack, {"app": definition()})
    finally:
        os.umask(before)
    holders = [path for path in stacks.folder(stack).rglob("*") if path.is_file() and b"secret-of" in path.read_bytes()]
    assert holders == [stacks.folder(stack) / labelled.FILE]
    assert stat.S_IMODE(holders[0].stat().st_mode) == 0o600
    assert labelled.credentials(stacks.folder(stack))["postgres"] == {"password": "secret-of-postgres"}


def test_only_stacks_of_this_registry_and_engine(stacks: Stacks) -> None:
    """Another registry that shares the state directory, and processes beside containers, are not answered for."""
    embedded, beside = stacks.stack(), stacks.stack(engine="compose")
    for stack in (embedded, beside):
        stacks.up(stack, {"app": definition()})
    assert [one.stack.id for one in find(stacks)] == [embedded.id]
    assert [one.stack.id for one in find(stacks, engine="compose")] == [beside.id]
    assert find(stacks, registry="another") == []


def test_a_service_that_exited_is_no_mere_data(stacks: Stacks) -> None:
    """After a crash there is something to heal, though nothing runs."""
    stack = stacks.stack()
    stacks.up(stack, {"app": definition("true", persist=True, data="app-data")})
    (stacks.folder(stack) / "app" / "data").mkdir()
    assert not find(stacks)[0].only_data


def test_data_that_goes_with_down_is_no_mere_data(stacks: Stacks) -> None:
    """What a killed `down` left of data that nobody wanted to keep is still to be removed."""
    stack = stacks.stack()
    for name in ("app", "db"):
        (stacks.folder(stack) / name / "data").mkdir(parents=True)
    stacks.up(stack, {"app": definition(data="app-data"), "db": definition(persist=True, data="db-data")})
    for record in stacks.records(stack).values():
        removal.end([record], intact=lambda _: True)
        (record.folder / records.PROCESS).unlink()
    assert not find(stacks)[0].only_data
    removal.remove(stacks.state, stack, purge=False)
    assert find(stacks)[0].only_data


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"engine": "embedded", "labels": null}', "\0" * 99])
def test_a_damaged_file_hides_its_stack_only(stacks: Stacks, content: str) -> None:
    """The others are found all the same."""
    damaged, whole = stacks.stack(), stacks.stack()
    for stack in (damaged, whole):
        stacks.up(stack, {"app": definition()})
    (stacks.folder(damaged) / labelled.FILE).write_text(content)
    assert [one.stack.id for one in find(stacks)] == [whole.id]
    assert labelled.credentials(stacks.folder(damaged)) == {}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(("ports", [["app", "main"]]), ("ports", [["app", "main", "x", "y", False]]), ("ports", 5), ("project", None)),
        *(("credentials", []), ("credentials", {"app": "x"}), ("labels.key", None), ("labels.environment", 5)),
    ],
)
def test_a_value_of_the_wrong_shape_hides_its_stack_only(stacks: Stacks, path: str, value: object) -> None:
    """A half-right record would do harm later, where nobody expects it."""
    damaged, whole = stacks.stack(), stacks.stack()
    for stack in (damaged, whole):
        stacks.up(stack, {"app": definition()})
    change(stacks, damaged, path, value)
    assert [one.stack.id for one in find(stacks)] == [whole.id]


def test_what_is_no_stack_is_passed_over(stacks: Stacks) -> None:
    """Foreign files and folders, and no folder at all."""
    assert find(stacks) == []
    root = folders.stacks(stacks.state)
    (root / "not-a-stack").mkdir(parents=True)
    (root / "0123456789ab").write_text("")
    (root / "0123456789ac").mkdir()
    assert find(stacks) == []
