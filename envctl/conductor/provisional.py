"""What `up` would do and what document it would use, shown without doing or reserving anything."""

from __future__ import annotations

from envctl.conductor import gather
from envctl.conductor.place import Place
from envctl.conductor.rendering import as_yaml
from envctl.host.registry import EnvironmentRecord
from envctl.model import Capabilities
from envctl.plan import planner
from envctl.plan.steps import Plan


def plan_text(place: Place) -> str:
    """The plan `up` would follow, as text. Changes nothing, reserves nothing."""
    return str(_provisional_plan(place))


def document_text(place: Place, *, inline_secrets: bool) -> str:
    """The Compose document, as YAML. Changes nothing.

    Args:
        place: Where we stand; where the environment is not up, ports are left to the engine.
        inline_secrets: Whether the secrets stand in the document, so that it works without any variable set.
    """
    found = place.find()
    plan = _provisional_plan(place, compose=True)
    credentials = gather.credentials_for(place.spec, found.stack.credentials if found else {})
    return as_yaml(plan.document, credentials, inline=inline_secrets)


def _provisional_plan(place: Place, *, compose: bool = False) -> Plan:
    """The plan; with `compose` as for a stack of containers of which nothing is there, whatever the engine."""
    found = place.find()
    engine = place.engine(found, planning=True)
    if found is None:
        found = gather.unclaimed(place, engine)
    capabilities = engine.capabilities(_recorded_version(found) if compose else None)
    if compose and not capabilities.containers:
        capabilities = Capabilities("compose")
    look = None if compose else engine.survey(found.stack, place.registry.registry_id, whole=True)
    facts = gather.facts_for(place, found, found.stack, capabilities, look, engine, images=not compose)
    return planner.plan(place.spec, facts)


def _recorded_version(found: EnvironmentRecord) -> str:
    return str(found.details.get("engine_version") or "25.0")
