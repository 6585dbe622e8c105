"""What envctl finds on this machine, what it decided from that, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from envctl.conductor.place import Selection
from envctl.doctor import engine, machine, project
from envctl.doctor.finding import Finding
from envctl.errors import EnvctlError, Interrupted

__all__ = ["Finding", "examine"]

_Check = Callable[[Selection], Iterable[Finding]]

_CHECKS: dict[str, _Check] = {
    "envctl": machine.program,
    "checkout": project.checkout,
    "configuration": project.configuration,
    "state": machine.state,
    "ports": machine.ports,
    "engine": engine.engines,
    "network": machine.proxies,
}


def examine(selection: Selection) -> Iterator[Finding]:
    """Everything there is to say, by topic. Takes at most a few seconds, whatever hangs; changes nothing."""
    for topic, check in _CHECKS.items():
        try:
            yield from check(selection)
        except Interrupted:
            raise
        except EnvctlError as error:
            yield Finding.of_error(topic, "problem", error)
