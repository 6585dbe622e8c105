"""Containers, networks and volumes of a stack: looked at by their labels, never by their names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from envctl.engines.docker import listing
from envctl.engines.docker.direct import Question
from envctl.engines.docker.endpoint import Endpoint
from envctl.engines.docker.states import STATES
from envctl.host import clock
from envctl.model import Observed, ObservedService, ServiceState, Stack
from envctl.plan.labels import LABEL_PREFIX

_LIMIT_S = 20.0
_EXIT_CODE = re.compile(r"Exited \((\d+)\)")
_IMAGE_ID = re.compile(r"(sha256:)?[0-9a-f]{12,64}")
# What Compose calls a project's own things.
_NAMES = {"container": "{}-.+", "network": "{}(_.+)?", "volume": "{}_.+"}


@dataclass(frozen=True, slots=True)
class Look:
    """A look at one stack that is under way; the engine answers the questions side by side.

    Attributes:
        stack: The stack.
        registry_id: Whose labels count as ours.
        questions: By noun: "container", "network", "volume".
    """

    stack: Stack
    registry_id: str
    questions: Mapping[str, Question]

    def result(self) -> Observed:
        """Wait for the answers and say what is there. Raises EngineUnavailable errors."""
        return read(self.stack, self.registry_id, listing.lists(self.questions))

    def end(self) -> None:
        """Give the look up."""
        listing.end(self.questions)


def look(endpoint: Endpoint, stack: Stack, registry_id: str, *, whole: bool) -> Look:
    """Begin a look.

    Args:
        endpoint: The engine.
        stack: The stack.
        registry_id: Our registry's id.
        whole: Whether to look at networks and volumes too, and at foreign things with our names; otherwise one question
            for our containers is all, which is what an `up` of something that runs can afford.
    """
    ours = {"name": [stack.project]} if whole else {"label": [f"{LABEL_PREFIX}stack={stack.id}"]}
    return Look(stack, registry_id, listing.ask(endpoint, listing.NOUNS if whole else ("container",), ours))


def read(stack: Stack, registry_id: str, there: listing.Lists) -> Observed:
    """What is there of a stack, and what else has its names.

    Args:
        stack: The stack.
        registry_id: Whose labels count as ours.
        there: What the engine has, by noun.
    """
    services: dict[str, ObservedService] = {}
    ours: dict[str, list[str]] = {noun: [] for noun in _NAMES}
    foreign: list[str] = []
    for noun, things in there.items():
        pattern = _NAMES[noun].format(re.escape(stack.project))
        for one in things:
            name = listing.name(one)
            if (listing.label(one, "registry"), listing.label(one, "stack")) == (registry_id, stack.id):
                ours[noun].append(name)
                if noun == "container":
                    services[listing.label(one, "service")] = _service(one)
            elif re.fullmatch(pattern, name):
                foreign.append(f"{noun} {name}")
    return Observed(services, tuple(ours["network"]), tuple(ours["volume"]), tuple(foreign))


@dataclass(frozen=True, slots=True)
class Owned:
    """What carries a stack's labels now.

    Attributes:
        containers: Container ids.
        networks: Network names by id: a network that is not ours may have the same name.
        volumes: Volume names.
        persistent: Those of the volumes whose data is to survive `down`.
    """

    containers: tuple[str, ...] = ()
    networks: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    persistent: frozenset[str] = frozenset()


def owned(endpoint: Endpoint, stack_id: str, registry_id: str) -> Owned:
    """Everything of a stack, by label alone."""
    ours = {"label": [f"{LABEL_PREFIX}stack={stack_id}", f"{LABEL_PREFIX}registry={registry_id}"]}
    there = listing.lists(listing.ask(endpoint, listing.NOUNS, ours))
    return Owned(
        tuple(str(one["Id"]) for one in there["container"]),
        {str(one["Id"]): listing.name(one) for one in there["network"]},
        tuple(map(listing.name, there["volume"])),
        frozenset(listing.name(one) for one in there["volume"] if listing.label(one, "persist") == "true"),
    )


def published(endpoint: Endpoint, stack_id: str) -> dict[int, str]:
    """Host ports that containers outside the stack publish, each with its holder in words."""
    containers = listing.lists(listing.ask(endpoint, ["container"], {}))["container"]
    return {
        outer: f'container "{listing.name(one)}"'
        for one in containers
        if listing.label(one, "stack") != stack_id
        for _, outer in listing.published(one)
    }


def image_ids(endpoint: Endpoint, references: Iterable[str]) -> dict[str, str]:
    """The id of each image, "" for one that the engine has not."""
    questions: dict[str, Question] = {}
    try:
        for reference in dict.fromkeys(references):
            questions[reference] = Question(endpoint, f"/images/{reference}/json")
        deadline_s = clock.monotonic_s() + _LIMIT_S
        return {reference: _id(*question.answer(deadline_s)) for reference, question in questions.items()}
    finally:
        for question in questions.values():
            question.end()


def _id(fine: bool, text: str) -> str:  # noqa: FBT001 - as `Question.answer` gives it
    from envctl.engines.docker.failures import classify
    from envctl.errors import ImageAbsent

    if fine:
        return str(json.loads(text)["Id"])
    error = classify(text, doing="look at images")
    if not isinstance(error, ImageAbsent):
        raise error
    return ""


def _service(container: listing.Thing) -> ObservedService:
    known: dict[str, str] = json.loads(listing.label(container, "aspects") or "{}")
    image = container["Image"]
    code = _EXIT_CODE.search(container["Status"])
    return ObservedService(
        name=listing.label(container, "service"),
        handle=container["Id"],
        state=STATES.get(container["State"], ServiceState.EXITED),
        digest=listing.label(container, "digest"),
        aspects=known,
        data_digest=listing.label(container, "data"),
        image_moved=_IMAGE_ID.fullmatch(image) is not None and known.get("image") != image,
        exit_code=int(code[1]) if code else None,
        host_ports=dict(listing.published(container)),
    )
