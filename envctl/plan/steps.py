"""A plan as data: steps, each with its cause, and their text.

The text is what `envctl up --dry-run` prints and what the golden files hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

NOT_THERE = "not there"
"""The cause of starting a service that does not exist yet."""


class Verb(StrEnum):
    """What a step does; one engine operation each."""

    PREPARE = "prepare"  # data that services start from
    PULL = "pull"
    BUILD = "build"
    REMOVE = "remove"
    DISCARD = "discard"  # a volume and the data in it
    START = "start"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Step:
    """One operation.

    Attributes:
        number: Position in the plan, from 1.
        verb: What to do.
        subject: What it is done to: an image reference (pull), a service (build, remove, start, wait) or a volume.
        cause: Why, in words. Never empty.
        after: Numbers of the steps that must be done before.
    """

    number: int
    verb: Verb
    subject: str
    cause: str
    after: tuple[int, ...] = ()

    def __str__(self) -> str:
        """One line: what it waits for, its number, verb, subject and cause."""
        after = f"[{','.join(map(str, self.after))}]"
        return f"{after:<8}{self.number:>2}  {self.verb:<8}{self.subject:<28}{self.cause}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, and the Compose document to do it with.

    Attributes:
        environment: The environment's name.
        engine: The engine's name.
        steps: In order; empty when everything is as it should be.
        document: The Compose document, ready to be written.
        digests: Service → digest of its definition.
        processes: Service → its definition, of those that run as plain processes of this machine.
        sources: Image → the reference it is pulled under, of those that are not pulled under their own.
    """

    environment: str
    engine: str
    steps: tuple[Step, ...]
    document: Mapping[str, object] = field(default_factory=dict, repr=False)
    digests: Mapping[str, str] = field(default_factory=dict)
    processes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing has to be done."""
        return not self.steps

    def subjects(self, verb: Verb) -> tuple[str, ...]:
        """What the steps of one verb are about, in order."""
        return tuple(step.subject for step in self.steps if step.verb is verb)

    def causes(self) -> tuple[str, ...]:
        """One line for each change of something that was there before, for people."""
        changing = (step for step in self.steps if step.verb in (Verb.START, Verb.REMOVE, Verb.DISCARD))
        return tuple(f"{step.verb} {step.subject}: {step.cause}" for step in changing if step.cause != NOT_THERE)

    def __str__(self) -> str:
        """The whole plan as text."""
        head = f"{self.environment}  engine {self.engine}"
        if self.is_empty:
            return f"{head}\nnothing to do: every service runs as defined\n"
        return "\n".join([head, *map(str, self.steps)]) + "\n"
