"""What an engine and the probes report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from envctl.model.states import ServiceState


@dataclass(frozen=True, slots=True)
class ObservedService:
    """One service as the engine reports it.

    Attributes:
        name: The service's name.
        handle: The engine's own id of it (container id, or process id).
        state: What the engine says; RUNNING is the most an engine can know, READY is proven by a probe.
        digest: Digest of the definition it was created from.
        aspects: The parts of that definition, so that a change can be named.
        data_digest: Digest of what shaped its data.
        image_moved: Whether the image's name has been given to another image since.
        exit_code: Where it has exited.
        detail: What else the engine knows of its state, in words.
        host_ports: Container port → host port, as published now.
    """

    name: str
    handle: str
    state: ServiceState
    digest: str
    aspects: Mapping[str, str] = field(default_factory=dict)
    data_digest: str = ""
    image_moved: bool = False
    exit_code: int | None = None
    detail: str = ""
    host_ports: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observed:
    """One look at reality.

    Attributes:
        services: Ours, by name.
        networks: Names of our networks that exist.
        volumes: Names of our volumes that exist.
        foreign: Objects that have a name of ours but not our labels, as "volume shop-main-…_data".
    """

    services: Mapping[str, ObservedService] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Death:
    """A service that ended while it was waited for.

    Attributes:
        service: Its name.
        exit_code: Its exit code, or None where unknown.
        out_of_memory: Whether the kernel killed it at its memory limit, as far as can be known.
        log_tail: Its last lines, raw; escape before printing.
        ran_s: How long it ran, seconds, or None.
    """

    service: str
    exit_code: int | None = None
    out_of_memory: bool = False
    log_tail: tuple[str, ...] = ()
    ran_s: float | None = None


class Verdict(StrEnum):
    """What one try of a probe found."""

    READY = "ready"
    NOT_YET = "not yet"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a probe: the verdict, and in one line what was seen ("connection refused")."""

    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """How the wait for one service ended.

    Attributes:
        service: Its name.
        ready_ms: Time from the start of the wait to the proof, milliseconds.
        attempts: How many tries were made.
        last: The newest answer.
    """

    service: str
    ready_ms: int
    attempts: int
    last: Attempt
