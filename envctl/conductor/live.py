"""One environment as it is now."""

from __future__ import annotations

from collections.abc import Sequence

from envctl.conductor import record, target
from envctl.conductor.place import Place
from envctl.errors import EnvctlError, Interrupted
from envctl.host import clock
from envctl.model import EnvironmentState, ServiceState, Verdict
from envctl.ready.wait import check_once
from envctl.report import EnvironmentReport

_CHECK_LIMIT_S = 2.0
_REJOIN_LIMIT_S, _REJOIN_PAUSE_S = 2.0, 0.01


def report(place: Place) -> EnvironmentReport:
    """The environment as it is now: asks the engine and probes each running service once.

    Raises:
        EnvironmentNotFound: It was never ready, or is gone.
    """
    found = place.required()
    engine = place.engine(found)
    registry_id = place.registry.registry_id
    observed = engine.survey(found.stack, registry_id, whole=False).result()
    reach, services = record.connections(found), record.services(found)
    running = {
        name: service
        for name, service in services.items()
        if name in observed.services and observed.services[name].state is ServiceState.RUNNING
    }
    answers = check_once(target.probes(running, reach, engine, found.stack, registry_id), _CHECK_LIMIT_S)
    states: dict[str, tuple[ServiceState, str]] = {}
    for name in services:
        seen = observed.services.get(name)
        if name in answers:
            ready = answers[name].verdict is Verdict.READY
            states[name] = (ServiceState.READY, "") if ready else (ServiceState.UNHEALTHY, answers[name].detail)
        elif seen is None:
            states[name] = (ServiceState.ABSENT, "not there")
        else:
            states[name] = (seen.state, seen.detail if seen.exit_code is None else f"exit code {seen.exit_code}")
    overall = _overall([state for state, _ in states.values()])
    dirty = found.state is EnvironmentState.DIRTY
    return record.report(found, state=found.state if dirty else overall, states=states)


def await_rejoined(place: Place) -> None:
    """Wait until services that were sent away by another, whose data was exchanged, are ready again; at most 2 s.

    Most connect again at once, and what comes next shall find them ready. One that is not ready for a reason of its own
    is nobody's concern here, nor is an engine that cannot be asked: the data is what it is to be.
    """
    until_s = clock.monotonic_s() + _REJOIN_LIMIT_S
    while _lacks_a_service(place) and clock.monotonic_s() < until_s:
        clock.sleep_s(_REJOIN_PAUSE_S)


def _lacks_a_service(place: Place) -> bool:
    """Whether one runs that is not ready, as far as that can be known."""
    try:
        return any(one.state is ServiceState.UNHEALTHY for one in report(place).services.values())
    except Interrupted:
        raise
    except EnvctlError:
        return False


def _overall(states: Sequence[ServiceState]) -> EnvironmentState:
    if all(state is ServiceState.READY for state in states):
        return EnvironmentState.READY
    if all(state in (ServiceState.ABSENT, ServiceState.EXITED, ServiceState.CREATED) for state in states):
        return EnvironmentState.STOPPED
    return EnvironmentState.DEGRADED
