"""Whether what runs is what is asked for, and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from envctl.conductor import gather, target
from envctl.conductor.data import provenance
from envctl.conductor.place import Place
from envctl.host.registry import EnvironmentRecord
from envctl.model import Connection, EnvironmentSpec, EnvironmentState, Stack, Verdict
from envctl.plan import connections, planner
from envctl.plan.variables import variables
from envctl.ready.wait import check_once

if TYPE_CHECKING:
    from envctl.engines.base import Engine, Survey

_CHECK_LIMIT_S = 2.0


def confirmed(place: Place, found: EnvironmentRecord, engine: Engine, survey: Survey) -> EnvironmentRecord | None:
    """The environment's record, if it runs exactly as the configuration says and every service answers; else None.

    Args:
        place: Where we stand.
        found: The record.
        engine: The engine it runs on.
        survey: A look at it that is under way.
    """
    if place.other_engine(found) or not _covers(found.stack, place.spec):
        return None
    origin = provenance.unchanged(place.spec, found)
    if origin is None or gather.moved(place, engine, origin):
        return None
    capabilities = engine.capabilities(str(found.details["engine_version"]))
    facts = gather.facts_for(place, found, found.stack, capabilities, survey, engine, origin)
    if not planner.plan(place.spec, facts).is_empty:
        return None
    reach = connections.outside(place.spec, found.stack)
    probes = target.probes(place.spec.services, reach, engine, found.stack, place.registry.registry_id)
    if any(answer.verdict is not Verdict.READY for answer in check_once(probes, _CHECK_LIMIT_S).values()):
        return None
    return _refreshed(place, found, reach)


def _covers(stack: Stack, spec: EnvironmentSpec) -> bool:
    """Whether the stack has a lease, as wanted, for every port, and no others."""
    leased = {(p.service, p.port_name, p.container_port, p.host_port if p.fixed else None) for p in stack.ports}
    wanted = {
        (name, port.name, port.container_port, port.host_port)
        for name, service in spec.services.items()
        for port in service.ports
    }
    return leased == wanted


def _refreshed(place: Place, before: EnvironmentRecord, reach: Mapping[str, Connection]) -> EnvironmentRecord | None:
    """The record, if it is still the one we looked at; `export` may have changed without any service changing."""
    now = place.find()
    if now is None or now.state is not EnvironmentState.READY or now.stack.id != before.stack.id:
        return None
    if place.wishes.session:  # where another process made it only just now, ours has not begun yet
        if not place.registry.attach(place.key, place.wishes.session):
            return None
    elif place.adopts(now):
        place.registry.adopt(now.identity.name)
    place.registry.renew(now.identity.name, place.ttl_s(now))
    current = variables(now.identity, now.stack.engine, place.spec, reach)
    if now.details.get("variables") == current:
        return now
    still_ready = place.registry.refresh(now.identity.name, {**now.details, "variables": current})
    return place.find() if still_ready else None
