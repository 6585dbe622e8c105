"""Many environments at once."""

from __future__ import annotations

import pytest
import stand_in as sample
from stand_in import StandIn

from envctl import fleet
from envctl.errors import EngineDenied, EngineUnreachable, Interrupted, Leftovers
from envctl.host.registry import EnvironmentRecord, Registry
from envctl.model import EnvironmentState, ServiceState
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


def test_down_all_removes_each(registry: Registry, environ: dict[str, str], stand_in: StandIn) -> None:
    """Everything goes, and with it the rows."""
    ids = [_ready(registry, branch).stack.id for branch in ("a", "b", "c")]
    removals = fleet.down_all(environ, progress=_Silent())
    assert len(removals) == 3
    assert sorted(stand_in.removed) == sorted(ids)
    assert registry.all() == []


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
