"""Where the news of one wait arrive: one queue for the answers of attempts and for what the engine reports."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from envctl.model import Attempt, Death
from envctl.ready.course import Course


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one attempt: an answer, or the exception that shows a bug in the probe."""

    course: Course
    outcome: Attempt | BaseException
    started_s: float
    ended_s: float
    long: bool


@dataclass(frozen=True, slots=True)
class Started:
    """The engine started a service."""

    service: str


News = Answer | Started | Death | BaseException


class Watch:
    """Where the news of one wait arrive. The engine's threads report here, at any time, also before the wait begins."""

    def __init__(self) -> None:
        self._news: SimpleQueue[News] = SimpleQueue()

    def started(self, service: str) -> None:
        """A service was started (its container's network is up): the time to try it has come."""
        self._news.put(Started(service))

    def report(self, death: Death) -> None:
        """A service ended: the wait ends at once with ServiceExited or OutOfMemory, also where it was ready before."""
        self._news.put(death)

    def abort(self, error: BaseException) -> None:
        """Something else failed, such as the engine's start of the services: the wait ends at once with `error`."""
        self._news.put(error)

    def answer(self, news: Answer) -> None:
        """An attempt ended."""
        self._news.put(news)

    def next(self, timeout_s: float) -> News | None:
        """The oldest news, or None when there is none within `timeout_s`. A signal's exception comes through."""
        with suppress(Empty):
            return self._news.get(timeout=max(0.0, timeout_s))
        return None
