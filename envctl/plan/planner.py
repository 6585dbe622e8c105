"""Deciding: what is asked for and what was found, in; a plan, out. No clock, randomness, disk or network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from envctl.errors import NotOurs
from envctl.model import EnvironmentSpec, ObservedService, ServiceSpec, ServiceState
from envctl.plan import digest, obtaining, processes
from envctl.plan.document import compose_document, data_volume
from envctl.plan.facts import Facts
from envctl.plan.labels import LABEL_PREFIX
from envctl.plan.steps import NOT_THERE, Plan, Step, Verb


def plan(spec: EnvironmentSpec, facts: Facts) -> Plan:
    """What to do so that what runs is what is asked for.

    Raises:
        NotOurs: Something foreign has a name this stack needs.
    """
    if facts.observed.foreign:
        raise _not_ours(facts)
    document = compose_document(spec, facts)
    local = processes.definitions(spec, facts)
    definitions: dict[str, Mapping[str, Any]] = {**document["services"], **local}
    steps = _Steps()
    if facts.to_prepare:
        steps.prepared = (steps.add(Verb.PREPARE, ", ".join(facts.prepared), facts.to_prepare),)
    for name, found in facts.observed.services.items():
        if name not in spec.services:
            steps.add(Verb.REMOVE, name, f"{found.state}, but no longer in the configuration")
    for name, service in spec.services.items():
        _plan_service(steps, service, definitions[name], spec, facts)
    started = {step.subject: step.number for step in steps.done if step.verb is Verb.START}
    for name, number in started.items():
        steps.add(Verb.WAIT, name, f"started by {number}", (number,))
    digests = {name: part["labels"][LABEL_PREFIX + "digest"] for name, part in definitions.items()}
    name, engine = facts.identity.name, facts.capabilities.engine
    return Plan(name, engine, tuple(steps.done), document, digests, local, steps.sources)


class _Steps:
    """Numbers the steps as they are added."""

    def __init__(self) -> None:
        self.done: list[Step] = []
        self.images: dict[str, int] = {}  # image reference → the step that gets it
        self.sources: dict[str, str] = {}  # image reference → another one it is pulled under
        self.prepared: tuple[int, ...] = ()  # the step that makes the data

    def add(self, verb: Verb, subject: str, cause: str, after: tuple[int, ...] = ()) -> int:
        step = Step(len(self.done) + 1, verb, subject, cause, after)
        self.done.append(step)
        return step.number


def _plan_service(
    steps: _Steps, service: ServiceSpec, rendered: Mapping[str, Any], spec: EnvironmentSpec, facts: Facts
) -> None:
    found = facts.observed.services.get(service.name)
    cause = _cause(found, rendered)
    if cause is None:
        return
    after = _image_steps(steps, service, rendered, spec, facts)
    volume = rendered["data"] if "arguments" in rendered else data_volume(service, facts)
    if found and volume and not service.persist and _data_is_stale(found, rendered):
        removal = steps.add(Verb.REMOVE, service.name, cause)
        discard = steps.add(Verb.DISCARD, volume, "made by another definition; not kept (persist: false)", (removal,))
        after += [removal, discard]
    steps.add(Verb.START, service.name, cause, tuple(after))


def _image_steps(
    steps: _Steps, service: ServiceSpec, rendered: Mapping[str, Any], spec: EnvironmentSpec, facts: Facts
) -> list[int]:
    prepared = facts.prepared.get(service.name)
    if prepared and (prepared.source or facts.to_prepare):
        return list(steps.prepared)
    if "image" not in rendered:
        return []
    image = str(rendered["image"])
    if image in steps.images:
        return [steps.images[image]]
    present = facts.images.get(image)
    if "build" in rendered:
        verb, subject, cause = Verb.BUILD, service.name, None if present else obtaining.ABSENT.format(image)
    else:
        verb, subject, cause = Verb.PULL, image, obtaining.why(service, spec, image, present=present)
    if cause is None:
        return []
    if verb is Verb.PULL and (source := obtaining.mirrored(image, spec.registry_mirror)):
        steps.sources[image], cause = source, f"{cause}; from {source}"
    steps.images[image] = steps.add(verb, subject, cause)
    return [steps.images[image]]


def _cause(found: ObservedService | None, rendered: Mapping[str, Any]) -> str | None:
    """Why a service must be started, or None where it runs as defined."""
    if found is None:
        return NOT_THERE
    labels = rendered["labels"]
    if found.digest != labels[LABEL_PREFIX + "digest"]:
        wanted = json.loads(labels[LABEL_PREFIX + "aspects"])
        changes = list(digest.differing(found.aspects, wanted))
        # A new container has what its image holds: what was written since the first one began is not in there.
        begins = "image" in rendered and "data" in wanted and "data" not in changes
        words = "changed: " + (", ".join(changes) or "definition")
        return f"{words}; it begins again with prepared data" if begins else words
    if found.image_moved:
        return f"image {rendered['image']} now names another image"
    if found.state is ServiceState.RUNNING:
        return None
    if found.detail:
        return f"{found.state}: {found.detail}"
    return f"{found.state} with code {found.exit_code}" if found.exit_code is not None else str(found.state)


def _data_is_stale(found: ObservedService, rendered: Mapping[str, Any]) -> bool:
    return bool(found.data_digest != rendered["labels"][LABEL_PREFIX + "data"])


def _not_ours(facts: Facts) -> NotOurs:
    things = ", ".join(facts.observed.foreign)
    return NotOurs(
        f"{things} exists but was not made by this envctl (no owner labels)",
        cause="only things that carry this registry's labels are used, changed or removed",
        fix=["rename or remove it yourself", "use another environment name: envctl up --name OTHER"],
        subject={"environment": facts.identity.name, "objects": list(facts.observed.foreign)},
        state="nothing was created; what exists was not touched",
    )
