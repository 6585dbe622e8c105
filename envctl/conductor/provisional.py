"""What `up` would do and what document it would use, shown without doing or reserving anything."""

from __future__ import annotations

from dataclasses import replace

from envctl import engines
from envctl.conductor import gather
from envctl.conductor.data.provenance import NOWHERE, Provenance
from envctl.conductor.place import Place
from envctl.conductor.rendering import as_yaml
from envctl.host.registry import EnvironmentRecord
from envctl.plan import planner
from envctl.plan.steps import Plan

_USUAL_VERSION = "25.0"


def plan_text(place: Place, origin: Provenance, to_prepare: str) -> str:
    """The plan `up` would follow, as text. Changes nothing, reserves nothing.

    Args:
        place: Where we stand.
        origin: Where the data comes from.
        to_prepare: Why it would be made first, "" where it is there.
    """
    return str(_provisional_plan(place, origin, to_prepare))


def document_text(place: Place, *, inline_secrets: bool) -> str:
    """The Compose document, as YAML. Changes nothing.

    Args:
        place: Where we stand; where the environment is not up, ports are left to the engine.
        inline_secrets: Whether the secrets stand in the document, so that it works without any variable set.
    """
    found = place.find()
    plan = _compose_plan(place, found)
    credentials = gather.credentials_for(place.spec, found.stack.credentials if found else {})
    return as_yaml(plan, credentials, inline=inline_secrets)


def _compose_plan(place: Place, found: EnvironmentRecord | None) -> Plan:
    """The plan for a stack of containers of which nothing is there, whatever the engine and without asking it."""
    engine = engines.create("compose", place.selection.environ)
    if found is None or found.stack.engine != engine.name:
        found = gather.unclaimed(place, engine)
    capabilities = engine.capabilities(str(found.details.get("engine_version") or _USUAL_VERSION))
    facts = gather.facts_for(place, found, found.stack, capabilities, None, engine, NOWHERE)
    return planner.plan(place.spec, facts)


def _provisional_plan(place: Place, origin: Provenance, to_prepare: str) -> Plan:
    found = place.find()
    engine = place.engine(found, planning=True)
    if found is None:
        found = gather.unclaimed(place, engine)
    capabilities = engine.capabilities()
    look = engine.survey(found.stack, place.registry.registry_id, whole=True)
    facts = gather.facts_for(place, found, found.stack, capabilities, look, engine, origin, images=True)
    return planner.plan(place.spec, replace(facts, to_prepare=to_prepare))
