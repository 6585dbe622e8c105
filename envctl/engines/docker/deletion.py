"""Containers stopped; containers, networks and volumes removed, over the engine's own interface, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from envctl.engines.docker.direct import Question
from envctl.engines.docker.endpoint import Endpoint
from envctl.host import clock

_LIMIT_S = 60.0
_GONE = ("no such ", "not found")
_GOING = ("already in progress",)  # somebody else removes it, be it an engine whose client was killed
_ENDED = ("no such ", "is not running")


class Deletion(NamedTuple):
    """A removal under way.

    Attributes:
        noun: "container", "network" or "volume".
        name: Its name or id.
        question: The order to the engine.
    """

    noun: str
    name: str
    question: Question


class Refusal(NamedTuple):
    """What the engine did not remove, and why."""

    noun: str
    name: str
    error: Exception


def kill(endpoint: Endpoint, handles: Sequence[str], networks: Sequence[str]) -> None:
    """Kill containers. Once this returns they hold nothing of their networks any more.

    What is refused is told by the removal, which tries once more. Taken off its networks while it dies, a container is
    gone sooner by what the engine else does afterwards, for one after the other.

    Args:
        endpoint: The engine.
        handles: Container ids.
        networks: Network ids; not every container is in each.

    Raises:
        EnvctlError: The engine did not answer.
    """
    orders = [
        Question(endpoint, f"/networks/{network}/disconnect", method="POST", body={"Container": handle})
        for network in networks
        for handle in handles
    ]
    orders += [Question(endpoint, f"/containers/{one}/kill", method="POST") for one in handles]
    _answers(orders, _LIMIT_S)


def stop(endpoint: Endpoint, handles: Sequence[str], grace_s: int) -> None:
    """Stop containers in an orderly way.

    Args:
        endpoint: The engine.
        handles: Container ids; one that is gone or has ended is fine.
        grace_s: Time to stop cleanly before the kill, for data that is kept.

    Raises:
        EnvctlError: The engine did not answer, or refused to stop one.
    """
    options = {"t": str(grace_s)}
    orders = [Question(endpoint, f"/containers/{one}/stop", options, method="POST") for one in handles]
    for fine, text in _answers(orders, _LIMIT_S + grace_s):
        if not fine and not _says(text, _ENDED):
            raise _error(text, "stop containers")


def begin(endpoint: Endpoint, noun: str, names: Sequence[str]) -> list[Deletion]:
    """Begin to remove what was found by label: containers with their anonymous volumes, networks or volumes."""
    options = {"force": "1", "v": "1"} if noun == "container" else {}
    return [Deletion(noun, name, Question(endpoint, f"/{noun}s/{name}", options, method="DELETE")) for name in names]


def refusals(deletions: Sequence[Deletion]) -> list[Refusal]:
    """Wait for removals, and tell those that the engine refused; what is gone already, or then, is fine.

    Raises:
        EnvctlError: The engine did not answer.
    """
    answers = _answers([one.question for one in deletions], _LIMIT_S)
    for number, one in enumerate(deletions):
        if _says(answers[number][1], _GOING):
            answers[number] = _gone(one)
    return [
        Refusal(one.noun, one.name, _error(text, f"remove {one.noun}s"))
        for one, (fine, text) in zip(deletions, answers, strict=True)
        if not fine and not _says(text, _GONE)
    ]


def remove_containers(endpoint: Endpoint, handles: Sequence[str], *, grace_s: int) -> None:
    """Stop containers as `stop`, and remove them with their anonymous volumes. Raises EnvctlError."""
    stop(endpoint, handles, grace_s)
    check(refusals(begin(endpoint, "container", handles)))


def check(refused: Sequence[Refusal]) -> None:
    """Raise the first of what was refused."""
    if refused:
        raise refused[0].error


def _gone(one: Deletion) -> tuple[bool, str]:
    """Wait for the end of a container's removal by somebody else."""
    path = f"/containers/{one.name}/wait"
    return _answers([Question(one.question.endpoint, path, {"condition": "removed"}, method="POST")], _LIMIT_S)[0]


def _answers(questions: Sequence[Question], limit_s: float) -> list[tuple[bool, str]]:
    deadline_s = clock.monotonic_s() + limit_s
    try:
        return [question.answer(deadline_s) for question in questions]
    finally:
        for question in questions:
            question.end()


def _says(text: str, words: Sequence[str]) -> bool:
    return any(word in text.lower() for word in words)


def _error(text: str, doing: str) -> Exception:
    from envctl.engines.docker.failures import classify

    return classify(text, doing=doing, answered=True)
