"""The one wait loop: many probes, one deadline, and nothing that sleeps.

The calling thread blocks on one queue. Into it go the answers of the attempts, each made in a thread of its own, and
whatever the engine reports meanwhile. Attempts overlap, so one that hangs delays nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from threading import Thread

from envctl.model import Attempt, Death, Readiness, Verdict
from envctl.ready.answers import not_yet
from envctl.ready.base import Probe
from envctl.ready.course import Course
from envctl.ready.failure import not_ready, stopped
from envctl.ready.watch import Answer, Started, Watch

__all__ = ["ReadyEvent", "Watch", "check_once", "wait_until_ready"]

_MOST_RETRIES = 3
_LONGEST_BLOCK_S = 0.1


@dataclass(frozen=True, slots=True)
class ReadyEvent:
    """News about one service while it is waited for: its first answer, an answer unlike the last one, or ready.

    Attributes:
        service: Its name.
        attempt: The answer.
        attempts: How many tries were made so far.
        waited_s: Time since the wait began, seconds.
    """

    service: str
    attempt: Attempt
    attempts: int
    waited_s: float


def wait_until_ready(
    probes: Mapping[str, Probe],
    *,
    deadline_s: float,
    watch: Watch | None = None,
    starting: Collection[str] = (),
    on_event: Callable[[ReadyEvent], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Readiness]:
    """Wait until every probe has succeeded once.

    Args:
        probes: One per service.
        deadline_s: When to give up, on `clock`, seconds.
        watch: Where the engine reports starts and deaths, or None.
        starting: Services that are only now being started. Each is first tried when `watch.started` tells of it:
            a connection that docker-proxy accepts before the container's network is up makes the kernel ask for
            an address nobody has yet, and it asks again only after a second, also for every later connection.
        on_event: Called in this thread for progress.
        clock: A monotonic clock.

    Returns:
        How the wait went, for each service.

    Raises:
        ServiceExited: A service stopped.
        OutOfMemory: A service was killed at its memory limit.
        ServiceNotReady: The deadline passed, or a probe found that its service can never become ready.
    """
    return _Wait(probes, deadline_s, watch or Watch(), on_event or (lambda _: None), clock).run(starting)


class _Wait:
    def __init__(
        self,
        probes: Mapping[str, Probe],
        deadline_s: float,
        watch: Watch,
        on_event: Callable[[ReadyEvent], None],
        clock: Callable[[], float],
    ) -> None:
        self._deadline_s, self._watch, self._on_event, self._clock = deadline_s, watch, on_event, clock
        self._began_s = clock()
        self._probes = probes
        self._pending: dict[str, Course] = {}

    def run(self, starting: Collection[str]) -> dict[str, Readiness]:
        for service, probe in self._probes.items():
            self._pending[service] = Course(service, probe, self._began_s, held=service in starting)
        done: dict[str, Readiness] = {}
        while self._pending:
            now = self._clock()
            if now < self._deadline_s:
                self._start_due(now)
            news = self._watch.next(self._wake_s(now) - now)
            if news is None:
                if self._clock() >= self._deadline_s:
                    raise not_ready(list(self._pending.values()), self._clock() - self._began_s)
            elif isinstance(news, Answer):
                self._take(news, done)
            elif isinstance(news, Started):
                if course := self._pending.get(news.service):
                    course.release(self._clock())
            else:
                raise stopped(news) if isinstance(news, Death) else news
        return {service: done[service] for service in self._probes}

    def _start_due(self, now: float) -> None:
        for course in self._pending.values():
            if course.due_s() <= now:
                long = course.start(now)
                limit_s = min(course.limit_s(now, long=long), self._deadline_s - now)
                _in_thread(self._watch, partial(_try, course, limit_s, self._clock, long=long))

    def _wake_s(self, now: float) -> float:
        if now >= self._deadline_s:
            return now
        # At least every tenth of a second, because Python runs a signal's handler only when the main thread moves, and
        # the kernel may have interrupted another one.
        return min(self._deadline_s, now + _LONGEST_BLOCK_S, *(course.due_s() for course in self._pending.values()))

    def _take(self, answer: Answer, done: dict[str, Readiness]) -> None:
        course = answer.course
        if self._pending.get(course.service) is not course:
            return  # an attempt that ended after its service was proven ready
        if isinstance(answer.outcome, BaseException):
            raise answer.outcome
        changed = course.end(answer.outcome, answer.ended_s - answer.started_s, long=answer.long)
        waited_s = answer.ended_s - self._began_s
        verdict = answer.outcome.verdict
        if verdict is Verdict.READY:
            del self._pending[course.service]
            done[course.service] = Readiness(course.service, round(waited_s * 1000), course.attempts, answer.outcome)
        if changed or verdict is not Verdict.NOT_YET:
            self._on_event(ReadyEvent(course.service, answer.outcome, course.attempts, waited_s))
        if verdict is Verdict.NEVER:
            raise not_ready([course], waited_s, final=True)


def check_once(probes: Mapping[str, Probe], limit_s: float) -> dict[str, Attempt]:
    """Ask each probe now, all at the same time; one that fails is repeated at once, at most three tries in all.

    Args:
        probes: One per service.
        limit_s: Time for everything, seconds.
    """
    watch, deadline_s = Watch(), time.monotonic() + limit_s
    for service, probe in probes.items():
        course = Course(service, probe, time.monotonic())
        _in_thread(watch, partial(_repeat, course, deadline_s))
    answers: dict[str, Attempt] = {}
    while len(answers) < len(probes):
        news = watch.next(deadline_s + 0.05 - time.monotonic())
        if not isinstance(news, Answer):
            break
        if isinstance(news.outcome, BaseException):
            raise news.outcome
        answers[news.course.service] = news.outcome
    late = not_yet(f"no answer within {limit_s:.1f} s")
    return {service: answers.get(service, late) for service in probes}


def _repeat(course: Course, deadline_s: float) -> Answer:
    for tries_left in range(_MOST_RETRIES, 0, -1):
        share_s = max(0.001, (deadline_s - time.monotonic()) / tries_left)
        answer = _try(course, share_s, time.monotonic, long=False)
        if not isinstance(answer.outcome, Attempt) or answer.outcome.verdict is Verdict.READY:
            break
    return answer


def _try(course: Course, limit_s: float, clock: Callable[[], float], *, long: bool) -> Answer:
    started_s = clock()
    outcome: Attempt | BaseException
    try:
        outcome = course.probe.attempt(limit_s)
    except BaseException as error:  # noqa: BLE001 - a bug must reach the caller, not die with its thread
        outcome = error
    return Answer(course, outcome, started_s, clock(), long)


def _in_thread(watch: Watch, work: Callable[[], Answer]) -> None:
    # Daemon: the program may end while an attempt hangs.
    Thread(target=lambda: watch.answer(work()), name="envctl-probe", daemon=True).start()
