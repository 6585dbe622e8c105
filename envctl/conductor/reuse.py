"""The `up` that has nothing to do: the environment runs exactly as defined, and answers."""

from __future__ import annotations

from collections.abc import Mapping

from envctl.conductor import gather, record, target
from envctl.conductor.place import Place
from envctl.host import clock
from envctl.host.registry import EnvironmentRecord
from envctl.model import Connection, EnvironmentSpec, EnvironmentState, Stack, Verdict
from envctl.plan import connections, planner
from envctl.plan.variables import variables
from envctl.ready.wait import check_once
from envctl.report import EnvironmentReport

_CHECK_LIMIT_S = 2.0


def reuse(place: Place, began_s: float) -> EnvironmentReport | None:
    """The report of an environment that runs exactly as defined and answers; None where there is something to do.

    Takes no lock: an environment that is READY before and after the look was so in between.
    """
    found = place.find()
    if found is None or found.state is not EnvironmentState.READY:
        return None
    engine = place.engine(found)
    survey = engine.survey(found.stack, place.registry.registry_id, whole=False)  # runs while we read the configuration
    try:
        if not _covers(found.stack, place.spec):
            return None
        capabilities = engine.capabilities(str(found.details["engine_version"]))
        plan = planner.plan(place.spec, gather.facts_for(place, found, found.stack, capabilities, survey))
    finally:
        survey.end()
    if not plan.is_empty:
        return None
    reach = connections.outside(place.spec, found.stack)
    probes = target.probes(place.spec.services, reach, engine, found.stack, place.registry.registry_id)
    if any(answer.verdict is not Verdict.READY for answer in check_once(probes, _CHECK_LIMIT_S).values()):
        return None
    found = _refreshed(place, found, reach)
    if found is None:
        return None
    total_ms = round((clock.monotonic_s() - began_s) * 1000)
    return record.report(found, state=EnvironmentState.READY, timings_ms={"total": total_ms})


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
    place.registry.touch(now.identity.name)
    current = variables(now.identity, now.stack.engine, place.spec, reach)
    if now.details.get("variables") == current:
        return now
    place.registry.set_state(now.identity.name, EnvironmentState.READY, details={**now.details, "variables": current})
    return place.find()
