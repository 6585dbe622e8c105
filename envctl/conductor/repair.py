"""A registry that was lost or damaged is rebuilt from the labels of what runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from envctl import engines
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
        or DOWN where only data is left that is to survive.
    """
    added: list[str] = []
    complete = True
    for name in engines.names():
        engine = with_processes(engines.create(name, environ), paths.state_dir(environ), environ)
        try:
            scope = port_scope(engine.address, local=engine.seen_from_here(engine.capabilities()).local)
            found = engine.find_all(registry.registry_id)
        except EngineUnavailable:
            complete = False
            continue
        added += registry.restore([_record(stack) for stack in found], scope=scope)
    if complete:
        registry.mark_repaired()
    return tuple(added)


def _record(found: Found) -> EnvironmentRecord:
    return EnvironmentRecord(
        identity=found.identity,
        state=EnvironmentState.DOWN if found.only_data else EnvironmentState.DEGRADED,
        stack=found.stack,
        config_file=found.config_file,
        created_at=_moment(found.created_at) or clock.now(),
        expires_at=_moment(found.expires_at),
        last_used_at=clock.now(),
        owner=owner.current(),
        checkout_mark=branches.mark(found.identity.checkout),
    )


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except ValueError:
        return None
