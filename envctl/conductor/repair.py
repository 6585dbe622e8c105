"""A registry that was lost or damaged is rebuilt from the labels of what runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from envctl import engines
from envctl.conductor.data import marker
from envctl.engines.local import with_processes
from envctl.errors import EngineUnavailable
from envctl.host import branches, clock, owner, paths
from envctl.host.registry import EnvironmentRecord, Registry, port_scope
from envctl.model import EnvironmentState, Found


def from_labels(registry: Registry, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Write down again what carries this registry's labels. Where an engine does not answer, this is left for later.

    Args:
        registry: The registry, freshly made in place of the lost one.
        environ: Says which engine to look at.

    Returns:
        The names of the environments that were found again. They are DEGRADED until the next `up` has looked at them,
        DOWN where only data is left that is to survive, and DIRTY as before where their data was left half changed.
    """
    added: list[str] = []
    complete, state = True, paths.state_dir(environ)
    for name in engines.names():
        engine = with_processes(engines.create(name, environ), state, environ)
        try:
            scope = port_scope(engine.address, local=engine.seen_from_here(engine.capabilities()).local)
            found = engine.find_all(registry.registry_id)
        except EngineUnavailable:
            complete = False
            continue
        added += registry.restore([_record(stack, state) for stack in found], scope=scope)
    if complete:
        registry.mark_repaired()
    return tuple(added)


def _record(found: Found, state: Path) -> EnvironmentRecord:
    details = marker.read(state, found.identity.name, found.stack.id)
    usual = EnvironmentState.DEGRADED if details is None else EnvironmentState.DIRTY
    if found.only_data:  # nothing runs: of the details, that they are dirty alone is still true
        details = {marker.KEY: details.get(marker.KEY, {})} if details is not None else None
    return EnvironmentRecord(
        identity=found.identity,
        state=EnvironmentState.DOWN if found.only_data else usual,
        stack=found.stack,
        config_file=found.config_file,
        created_at=_moment(found.created_at) or clock.now(),
        expires_at=_moment(found.expires_at),
        last_used_at=clock.now(),
        owner=owner.current(),
        details=details or {},
        checkout_mark=branches.mark(found.identity.checkout),
    )


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except ValueError:
        return None
