"""How the wait for one service goes: what was tried, what was answered, when to try next."""

from __future__ import annotations

from envctl.model import Attempt
from envctl.ready.base import Probe

_KEPT_ANSWERS = 3
_CHEAP_S = 0.002
_NEVER = float("inf")

# A held service is tried this often all the same, in case the news of its start was lost.
_HELD_INTERVAL_S = 3.0


class Course:
    """The state of one service's wait. Used by the waiting thread only.

    Args:
        service: The service's name.
        probe: Its probe.
        began_s: When the wait began, on the waiting loop's clock.
        held: Whether the service is only now being started, and so not to be tried before it was reported started.
    """

    def __init__(self, service: str, probe: Probe, began_s: float, *, held: bool = False) -> None:
        self.service = service
        self.probe = probe
        self.attempts = 0
        self.answers: list[Attempt] = []  # the newest last, each detail once
        self._began_s = began_s
        self._held = held
        self._last_start_s: float | None = None
        self._cheap = False
        self._running = {False: 0, True: 0}  # attempts under way: short, long

    def due_s(self) -> float:
        """When the next attempt should start; infinity while every slot is taken."""
        if self._held:
            return (self._began_s if self._last_start_s is None else self._last_start_s) + _HELD_INTERVAL_S
        if self._last_start_s is None:
            return self._began_s
        if self._running[False] >= self.probe.pace.short_slots and not self._long_next():
            return _NEVER
        waited_s = self._last_start_s - self._began_s
        return self._last_start_s + self.probe.pace.interval_s(waited_s, cheap=self._cheap)

    def release(self, now: float) -> None:
        """The service was started: try it at once, and at the pace of a wait that begins now."""
        self._held, self._began_s, self._last_start_s = False, now, None

    def start(self, now: float) -> bool:
        """Note that an attempt starts; whether it is a long one."""
        long = self._long_next()
        self.attempts += 1
        self._running[long] += 1
        self._last_start_s = now
        return long

    def limit_s(self, now: float, *, long: bool) -> float:
        """How long an attempt that starts now may take."""
        return self.probe.pace.limit_s(now - self._began_s, long=long)

    def end(self, answer: Attempt, took_s: float, *, long: bool) -> bool:
        """Note an attempt's answer; whether it says something else than the one before."""
        self._running[long] -= 1
        self._cheap = took_s < _CHEAP_S
        changed = not self.answers or self.answers[-1] != answer
        self.answers = [*(kept for kept in self.answers if kept.detail != answer.detail), answer][-_KEPT_ANSWERS:]
        return changed

    def _long_next(self) -> bool:
        pace = self.probe.pace
        regular = self.attempts % pace.long_every == pace.long_every - 1
        return self._running[True] < pace.long_slots and (regular or self._running[False] >= pace.short_slots)
