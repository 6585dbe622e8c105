"""Lists of what an engine has: containers, networks and volumes, each thing as the engine's interface describes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from envctl.engines.docker.direct import Question, answers
from envctl.engines.docker.endpoint import Endpoint
from envctl.host import clock
from envctl.plan.labels import LABEL_PREFIX

NOUNS = ("container", "network", "volume")

Thing: TypeAlias = Mapping[str, Any]
Lists: TypeAlias = Mapping[str, Sequence[Thing]]

_LIMIT_S = 20.0


def ask(
    endpoint: Endpoint, nouns: Iterable[str], filters: Mapping[str, Sequence[str]], **options: str
) -> dict[str, Question]:
    """Ask for lists, which the engine makes side by side.

    Args:
        endpoint: The engine.
        nouns: Of what: "container" (also those that do not run), "network", "volume".
        filters: Which of them: by "label", or by a part of their "name".
        options: More that containers are asked for.

    Raises:
        EnvctlError: The engine cannot be asked; nothing is under way.
    """
    words = {"filters": json.dumps(filters)}
    asked: dict[str, Question] = {}
    try:
        for noun in nouns:
            path, more = ("/containers/json", {"all": "1", **options}) if noun == "container" else (f"/{noun}s", {})
            asked[noun] = Question(endpoint, path, {**more, **words})
    except BaseException:
        end(asked)
        raise
    return asked


def lists(asked: Mapping[str, Question]) -> Lists:
    """Wait for the answers: the things by noun.

    Raises:
        EnvctlError: One failed; the others are given up.
    """
    told = answers(list(asked.values()), clock.monotonic_s() + _LIMIT_S, doing="list what there is")
    return {noun: (one["Volumes"] if noun == "volume" else one) or () for noun, one in zip(asked, told, strict=True)}


def end(asked: Mapping[str, Question]) -> None:
    """Give questions up."""
    for question in asked.values():
        question.end()


def name(thing: Thing) -> str:
    """What it is called."""
    names = thing.get("Names")  # of a container, each with a slash before it
    return str(names[0]).removeprefix("/") if names else str(thing["Name"])


def label(thing: Thing, label: str) -> str:
    """One of envctl's labels, without its prefix; empty where it has none."""
    return str((thing["Labels"] or {}).get(LABEL_PREFIX + label, ""))


def published(container: Thing) -> list[tuple[int, int]]:
    """The container's port and the host's, for every TCP port of the host that leads to it."""
    ports = [one for one in container["Ports"] or () if one["Type"] == "tcp" and one.get("PublicPort")]
    return [(int(one["PrivatePort"]), int(one["PublicPort"])) for one in ports]
