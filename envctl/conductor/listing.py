"""All environments of a registry as they are now, in the time that a list may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envctl import engines
from envctl.conductor import record
from envctl.engines.local import with_processes
from envctl.errors import Denied, EngineUnavailable
from envctl.host import clock
from envctl.host.registry import EnvironmentRecord, Registry
from envctl.model import EnvironmentState, ServiceState
from envctl.report import EnvironmentReport

if TYPE_CHECKING:
    from envctl.engines.base import Weighing

SIZES_LIMIT_S = 0.02
"""How long a list waits for sizes that nobody asked for, seconds: it has 120 ms in all."""

_Running = Mapping[str, Mapping[str, ServiceState]]


class _Seen(NamedTuple):
    """What an engine tells of all stacks.

    Attributes:
        running: The state of each service, by stack id; None where the engine does not answer.
        weighing: The sizes, on their way; None where it does not answer.
        deadline_s: Until when they are waited for, on the monotonic clock.
    """

    running: _Running | None = None
    weighing: Weighing | None = None
    deadline_s: float = 0.0

    def sizes(self) -> Mapping[str, int | None]:
        """Bytes on disk by stack id, as far as they are known by then."""
        return (self.weighing.result(self.deadline_s) if self.weighing else None) or {}


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
        if _engine(one) not in seen:  # asked once, however many environments it runs
            seen[_engine(one)] = _look(registry, state, one, environ, sizes_limit_s)
    told = [
        replace(_corrected(one, seen[_engine(one)].running), sessions=registry.living_sessions(one)) for one in found
    ]
    sizes = {engine: look.sizes() for engine, look in seen.items()}  # which were on their way meanwhile
    return [
        replace(report, disk_bytes=sizes[_engine(one)].get(one.stack.id))
        for one, report in zip(found, told, strict=True)
    ]


def _engine(found: EnvironmentRecord) -> tuple[str, str]:
    return found.stack.engine, found.stack.endpoint


def _look(
    registry: Registry, state: Path, found: EnvironmentRecord, environ: Mapping[str, str], sizes_limit_s: float
) -> _Seen:
    try:
        engine = engines.create(found.stack.engine, environ, found.stack.endpoint)
        engine = with_processes(engine, state, environ)
        weighing = engine.weigh(registry.registry_id)
        deadline_s = clock.monotonic_s() + sizes_limit_s
        return _Seen(engine.running(registry.registry_id), weighing, deadline_s)
    except (EngineUnavailable, Denied):
        return _Seen()


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
