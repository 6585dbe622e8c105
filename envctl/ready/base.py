"""The contract of a probe: it tries once and can say what it tries. Whoever waits decides when to try again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from envctl.model import Attempt


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how long to try. Every value follows from the time waited so far.

    A first attempt can hang: docker-proxy accepts before the container's network is up and then waits a second for a
    SYN to be sent again. So attempts are short and overlap. But a loaded machine may need longer for an honest
    handshake, so every `long_every`-th attempt may last longer, in slots of its own.

    Attributes:
        least_s: Shortest time between the starts of two attempts, seconds.
        most_s: Longest.
        short_limit_s: Limit of an ordinary attempt at first; it grows with the time waited.
        long_limit_s: Limit of a long attempt at first; it grows too, up to `most_limit_s`.
        most_limit_s: No attempt lasts longer.
        short_slots: Most ordinary attempts at a time.
        long_slots: Most long attempts at a time.
        long_every: Every how many attempts one is long.
    """

    least_s: float = 0.02
    most_s: float = 0.25
    short_limit_s: float = 0.125
    long_limit_s: float = 0.5
    most_limit_s: float = 5.0
    short_slots: int = 6
    long_slots: int = 2
    long_every: int = 8

    def interval_s(self, waited_s: float, *, cheap: bool = False) -> float:
        """Time between the starts of two attempts: 20 ms for the first three seconds, later 1/150 of the time waited.

        A service is noticed so much later than the truth as that. A refused connection costs next to nothing,
        so it may be repeated after half the time.
        """
        interval = min(max(self.least_s, waited_s / 150), self.most_s)
        return interval / 2 if cheap else interval

    def limit_s(self, waited_s: float, *, long: bool) -> float:
        """Time an attempt that starts now may take."""
        first = self.long_limit_s if long else self.short_limit_s
        share = waited_s / 2 if long else waited_s / 20
        return min(max(first, share), self.most_limit_s)


SOCKETS = Pace()

# A check through the engine (its log, a program inside) costs the engine tens of milliseconds.
ENGINE = Pace(
    least_s=0.1, most_s=0.5, short_limit_s=2.0, long_limit_s=10.0, most_limit_s=30.0, short_slots=1, long_slots=1
)


class Probe(Protocol):
    """One way to prove that a service is usable."""

    @property
    def pace(self) -> Pace:
        """How often it is worth trying."""
        ...

    def describe(self) -> str:
        """What is waited for, to go on after "waited until it …": "answers the Postgres handshake on 127.0.0.1:1"."""
        ...

    def attempt(self, limit_s: float) -> Attempt:
        """Make one try that takes at most `limit_s` seconds. Never raises for what a service does; never waits."""
        ...


class Target(Protocol):
    """What a probe may ask of the engine that runs the service."""

    def logs(self, service: str) -> str:
        """The service's log so far, or at least its newest part. Raises EnvctlError."""
        ...

    def exec(self, service: str, argv: Sequence[str], limit_s: float) -> tuple[int, str]:
        """Run a program inside the service: its exit code and its output. Raises EnvctlError, TimeoutError."""
        ...
