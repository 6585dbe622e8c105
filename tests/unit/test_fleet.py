"""Many environments at once."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
import stand_in as sample
from stand_in import StandIn

from envctl import fleet
from envctl.errors import (
    EngineDenied,
    EngineUnreachable,
    EnvironmentInUse,
    EnvironmentNotFound,
    Interrupted,
    Leftovers,
)
from envctl.host import clock, owner
from envctl.host.registry import EnvironmentRecord, Registry
from envctl.model import EnvironmentState, ServiceState, SessionRequest
from envctl.report import Progress


class _Silent(Progress):
    def phase(self, service: str, phase: str, detail: str = "") -> None:
        pass

    def note(self, text: str) -> None:
        pass


def _ready(registry: Registry, branch: str) -> EnvironmentRecord:
    """An environment with one service that was ready."""
    made, _ = registry.claim(sample.identity(branch), engine="compose", endpoint=sample.ADDRESS)
    connection = {"service": "redis", "kind": "redis", "host": "127.0.0.1", "port": 20431, "url": "redis://x"}
    services = {"redis": {"connection": connection, "check": None, "ports": {"main": 6379}, "ready_ms": 5}}
    registry.set_state(made.identity.name, EnvironmentState.READY, details={"services": services, "variables": {}})
    found = registry.find(name=made.identity.name)
    assert found is not None
    return found


def test_no_state_directory_is_made(stand_in: StandIn, tmp_path: object) -> None:
    """Where nothing ever was, listing and removing everything find nothing and make nothing."""
    environ = {"ENVCTL_STATE_DIR": f"{tmp_path}/none"}
    assert fleet.list_environments(environ) == []
    assert fleet.down_all(environ, progress=_Silent()) == []


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (ServiceState.RUNNING, EnvironmentState.READY),
        (ServiceState.EXITED, EnvironmentState.STOPPED),
        (None, EnvironmentState.STOPPED),
    ],
)
def test_list_is_corrected_by_the_engine(
    registry: Registry,
    environ: dict[str, str],
    stand_in: StandIn,
    seen: ServiceState | None,
    expected: EnvironmentState,
) -> None:
    """An environment recorded as ready is shown as what the engine says of its services."""
    one = _ready(registry, "main")
    stand_in.states = {one.stack.id: {"redis": seen}} if seen else {}
    (report,) = fleet.list_environments(environ)
    assert report.state is expected


@pytest.mark.parametrize("failure", [EngineUnreachable("it is away"), EngineDenied("not you")])
def test_list_works_without_the_engine(
    registry: Registry, environ: dict[str, str], stand_in: StandIn, failure: EngineUnreachable
) -> None:
    """Where the engine does not answer, or not to us, what was recorded is shown."""
    _ready(registry, "main")
    registry.mark_repaired()
    stand_in.failure = failure
    (report,) = fleet.list_environments(environ)
    assert report.state is EnvironmentState.READY


def test_list_tells_sizes_users_and_the_last_use(
    registry: Registry, environ: dict[str, str], stand_in: StandIn
) -> None:
    """Sizes as far as they are known, and only sessions whose process lives; the workers of a run are one user."""
    one, other = _ready(registry, "a"), _ready(registry, "b")
    dead = replace(owner.current(), start_ticks=1)
    for id_, purpose, who in (
        ("5e", "envctl run", dead),
        ("7a", "pytest", owner.current()),
        ("7a.gw0", "pytest", owner.current()),
        ("9c", "envctl up", owner.current()),
    ):
        registry.begin_session(one.identity.name, SessionRequest(id_, purpose, who))
    stand_in.sizes = {one.stack.id: 4096, other.stack.id: None}
    first, second = fleet.list_environments(environ)
    assert (first.disk_bytes, second.disk_bytes) == (4096, None)
    assert first.user == f"pytest (pid {os.getpid()}) +1"
    assert [session.id for session in first.sessions] == ["7a", "7a.gw0", "9c"]
    assert second.user == ""
    assert first.last_used_at is not None
    assert datetime.fromisoformat(first.last_used_at) <= clock.now()


def test_down_all_removes_each(registry: Registry, environ: dict[str, str], stand_in: StandIn) -> None:
    """Everything goes, and with it the rows."""
    ids = [_ready(registry, branch).stack.id for branch in ("a", "b", "c")]
    removals = fleet.down_all(environ, progress=_Silent())
    assert len(removals) == 3
    assert sorted(stand_in.removed) == sorted(ids)
    assert registry.all() == []


@pytest.mark.parametrize(
    ("patterns", "gone"),
    [
        (["main"], ["main"]),
        (["feature/*"], ["feature/a", "feature/b/c"]),
        (["shop-fix-*", "feature/[b-z]*"], ["feature/b/c", "fix"]),
        (["*"], ["feature/a", "feature/b/c", "fix", "main"]),
        ([], ["feature/a", "feature/b/c", "fix", "main"]),
    ],
)
def test_patterns_choose_by_name_or_branch(
    registry: Registry, environ: dict[str, str], stand_in: StandIn, patterns: list[str], gone: list[str]
) -> None:
    """As a shell's patterns do; a dry run names exactly those that then go."""
    for branch in ("main", "feature/a", "feature/b/c", "fix"):
        _ready(registry, branch)
    assert sorted(one.identity.branch for one in fleet.select(environ, patterns)) == gone
    assert stand_in.removed == []
    assert len(fleet.down_all(environ, progress=_Silent(), patterns=patterns)) == len(gone)
    assert {one.identity.branch for one in registry.all()} == {"main", "feature/a", "feature/b/c", "fix"} - set(gone)


def test_a_pattern_that_matches_none_removes_none(
    registry: Registry, environ: dict[str, str], stand_in: StandIn, tmp_path: Path
) -> None:
    """A slip of the pen beside a pattern that matches; the names there are help to see it."""
    name = _ready(registry, "main").identity.name
    for call in (fleet.select, partial(fleet.down_all, progress=_Silent())):
        with pytest.raises(EnvironmentNotFound) as raised:
            call(environ, patterns=["main", "Main"])
        assert raised.value.subject == {"pattern": "Main", "environments": [name]}
        with pytest.raises(EnvironmentNotFound):
            call({"ENVCTL_STATE_DIR": str(tmp_path / "none")}, patterns=["main"])
    assert stand_in.removed == []


@pytest.mark.provokes("ENVIRONMENT_IN_USE")
def test_what_somebody_uses_stays_unless_it_is_forced(
    registry: Registry, environ: dict[str, str], stand_in: StandIn
) -> None:
    """The others go. The exit code says that trying again may do."""
    used, idle = _ready(registry, "a"), _ready(registry, "b")
    with subprocess.Popen(["sleep", "60"]) as somebody:
        who = owner.of(somebody.pid)
        assert who is not None
        registry.begin_session(used.identity.name, SessionRequest("7a", "pytest", who))
        with pytest.raises(EnvironmentInUse) as raised:
            fleet.down_all(environ, progress=_Silent())
        assert (raised.value.exit, stand_in.removed) == (75, [idle.stack.id])
        assert raised.value.state == "1 were removed"
        with pytest.raises(EnvironmentInUse, match=used.identity.name):
            fleet.down_all(environ, progress=_Silent(), patterns=["a"])
        fleet.down_all(environ, progress=_Silent(), patterns=["a"], force=True)
        somebody.kill()
    assert stand_in.removed == [idle.stack.id, used.stack.id]


def test_one_that_fails_does_not_stop_the_others(
    registry: Registry, environ: dict[str, str], stand_in: StandIn
) -> None:
    """What could be removed is removed; the rest is named, and its rows stay."""
    bad = _ready(registry, "a")
    _ready(registry, "b")
    stand_in.refuses[bad.stack.id] = EngineUnreachable("it is away")
    with pytest.raises(Leftovers) as raised:
        fleet.down_all(environ, progress=_Silent())
    assert raised.value.leftovers
    assert [one.stack.id for one in registry.all()] == [bad.stack.id]


def test_a_signal_stops_at_once(registry: Registry, environ: dict[str, str], stand_in: StandIn) -> None:
    """Ctrl-C during `down --all` does not go on with the next environment."""
    first = _ready(registry, "a")
    _ready(registry, "b")
    stand_in.refuses[first.stack.id] = Interrupted(2)
    with pytest.raises(Interrupted):
        fleet.down_all(environ, progress=_Silent())
    assert stand_in.removed == []
