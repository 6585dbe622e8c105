"""All environments of a registry as they are now, in the time that a list may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from envctl import engines
from envctl.conductor import record
from envctl.engines.local import with_processes
from envctl.errors import Denied, EngineUnavailable
from envctl.host import clock
from envctl.host.registry import EnvironmentRecord, Registry
from envctl.model import EnvironmentState, ServiceState
from envctl.report import EnvironmentReport

SIZES_LIMIT_S = 0.02
"""How long a list waits for sizes that nobody asked for, seconds: it has 120 ms in all."""

_Running = Mapping[str, Mapping[str, ServiceState]]


class _Seen(NamedTuple):
    """What an engine tells of all stacks.

    Attributes:
        running: The state of each service, by stack id; None where the engine does not answer.
        sizes: Bytes on disk by stack id, as far as they are known.
    """

    running: _Running | None
    sizes: Mapping[str, int | None]


def reports(
    registry: Registry, state: Path, environ: Mapping[str, str], *, sizes_limit_s: float = SIZES_LIMIT_S
) -> list[EnvironmentReport]:
    """Every environment, by name: as recorded, corrected by what its engine tells, with its size and who uses it.

    An engine that does not answer corrects nothing. Sizes that are not there in time are left out.

    Args:
        registry: The registry.
        state: The state directory.
        environ: The caller's variables.
        sizes_limit_s: How long to wait for each engine's sizes.
    """
    found = registry.all()
    seen: dict[tuple[str, str], _Seen] = {}
    for one in found:
        engine = (one.stack.engine, one.stack.endpoint)
        if engine not in seen:  # asked once, however many environments it runs
            seen[engine] = _look(registry, state, one, environ, sizes_limit_s)
    return [_report(registry, one, seen[one.stack.engine, one.stack.endpoint]) for one in found]


def _look(
    registry: Registry, state: Path, found: EnvironmentRecord, environ: Mapping[str, str], sizes_limit_s: float
) -> _Seen:
    try:
        engine = engines.create(found.stack.engine, environ, found.stack.endpoint)
        engine = with_processes(engine, state, environ)
        sizes = engine.weigh(registry.registry_id)
        deadline_s = clock.monotonic_s() + sizes_limit_s
        return _Seen(engine.running(registry.registry_id), sizes.result(deadline_s) or {})
    except (EngineUnavailable, Denied):
        return _Seen(None, {})


def _report(registry: Registry, found: EnvironmentRecord, seen: _Seen) -> EnvironmentReport:
    told = _corrected(found, seen.running)
    return replace(told, sessions=registry.living_sessions(found), disk_bytes=seen.sizes.get(found.stack.id))


def _corrected(found: EnvironmentRecord, running: _Running | None) -> EnvironmentReport:
    """The record's report; a READY environment none of whose services runs is stopped, one that lacks some degraded.

    One that is dirty stays so, whatever runs.
    """
    if running is None or found.state not in (EnvironmentState.READY, EnvironmentState.DIRTY):
        return record.report(found)
    seen = running.get(found.stack.id, {})
    states = {name: (seen.get(name, ServiceState.ABSENT), "") for name in record.connections(found)}
    if found.state is EnvironmentState.DIRTY:
        return record.report(found, states=states)
    alive = [state is ServiceState.RUNNING for state, _ in states.values()]
    state = EnvironmentState.READY if all(alive) else EnvironmentState.DEGRADED
    return record.report(found, state=state if any(alive) else EnvironmentState.STOPPED, states=states)
