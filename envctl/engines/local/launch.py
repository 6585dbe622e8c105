"""The start of processes under way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from envctl.engines.local import records
from envctl.engines.local.deaths import Deaths, autopsy
from envctl.engines.local.keeping import Keeping
from envctl.engines.local.starting import Starting
from envctl.errors import EngineFailed, PortTaken
from envctl.host import owner
from envctl.model import Death
from envctl.report import Initiator

_SETTLED_WITHIN_S = 10.0  # what the keeper was asked takes milliseconds, except on a disk that does not answer
_ANSWERS_WITHIN_S = 60.0  # all were proven ready, so the keeper has only to say what it has done
_KEEPER_LIMIT_S = 1.0
_REST_GRACE_S = 2.0


class Launch:
    """Processes that are being started: each is prepared in a thread, waits for what it depends on, and is started.

    Args:
        starts: The services.
        deaths: Is told of those that end.
        initiator: Its lock is held by the keeper until that has started what it was asked to. `failed` gets `PortTaken`
            where somebody else has a port that a service was given.

    Raises:
        EngineFailed: Nothing can be started.
    """

    def __init__(self, starts: Sequence[Starting], deaths: Deaths, initiator: Initiator) -> None:
        self._starts = {start.name: start for start in starts}
        lock_fd, self._started, self._failed, self._progress = initiator
        self._deaths = deaths
        self._news = threading.Condition()
        self._ready: set[str] = set()
        self._unasked = set(self._starts)
        self._unanswered: set[str] = set()
        self._running: set[str] = set()
        self._error: BaseException | None = None
        self._over = self._waiting = self._gone = self._closed = False
        self._threads: list[threading.Thread] = []
        self._boot_id = owner.current().boot_id
        self._keeping = Keeping(lock_fd) if starts else None
        if self._keeping is not None:
            self._listener = _thread(self._listen, self._keeping)
            self._threads = [_thread(self._bring, start, self._keeping) for start in starts]

    def ready(self, service: str) -> None:
        """A service was proven ready: what depends on it may start."""
        with self._news:
            self._ready.add(service)
            self._news.notify_all()

    def wait(self) -> None:
        """Until all were started. Nothing waits for others any more: who calls this will report no more of them.

        Raises:
            EnvctlError: What went wrong first; EngineFailed also where the keeper does not answer within a minute.
            PortTaken: Somebody else has a port.
        """
        with self._news:
            self._waiting = True
            self._news.notify_all()
            answered = self._news.wait_for(
                lambda: self._error is not None or not (self._unasked or self._unanswered), timeout=_ANSWERS_WITHIN_S
            )
        if self._error is not None:
            raise self._error
        if not answered:
            raise EngineFailed(
                "the program that keeps the services' processes does not answer",
                evidence=[f"not told to have been started: {', '.join(sorted({*self._unasked, *self._unanswered}))}"],
                fix=["try again", "envctl doctor"],
            )
        if not self._deaths.attach(self.close):
            self.close()

    def cancel(self) -> None:
        """Start nothing more; what is being prepared or started comes to its end first, so that all can be removed."""
        with self._news:
            self._over = True
            self._news.notify_all()
        for thread in self._threads:
            thread.join()
        with self._news:
            self._news.wait_for(lambda: self._gone or not self._unanswered, timeout=_SETTLED_WITHIN_S)
        if self._keeping is not None and not self._running:
            self._listener.join(_KEEPER_LIMIT_S)  # a keeper of nothing ends at once
        self.close()

    def close(self) -> None:
        """Listen to the keeper no more; it goes on by itself. Again does nothing."""
        with self._news:
            closed, self._closed = self._closed, True
        if self._keeping is not None and not closed:
            self._keeping.hang_up()
            if threading.current_thread() is not self._listener:
                self._listener.join(_SETTLED_WITHIN_S)  # a thread that is stuck must not hold up the command

    # -- one service, in a thread of its own -------------------------------------------------------------------------

    def _bring(self, start: Starting, keeping: Keeping) -> None:
        try:
            self._progress.phase(start.name, "creating")
            start.prepare()
            self._await(start.depends_on)
            self._ask(start, keeping)
        except BaseException as error:  # noqa: BLE001 - a thread's error is for the one who waits
            self._fail(error)
        finally:
            with self._news:
                self._unasked.discard(start.name)
                if not self._unasked:
                    keeping.no_more()
                self._news.notify_all()

    def _await(self, services: Iterable[str]) -> None:
        needed = set(services)
        with self._news:
            self._news.wait_for(lambda: self._over or self._waiting or needed <= self._ready)

    def _ask(self, start: Starting, keeping: Keeping) -> None:
        request = start.request(self._boot_id)
        self._progress.phase(start.name, "starting")
        with self._news:
            if self._over:
                return
            self._unanswered.add(start.name)
            with suppress(OSError):  # it is gone, which its listener will see, with what it said last
                keeping.ask(request)

    # -- the keeper, in a thread of its own --------------------------------------------------------------------------

    def _listen(self, keeping: Keeping) -> None:
        try:
            ended = keeping.listen(self._on_event)
        except BaseException as error:  # noqa: BLE001 - as above
            self._fail(error)
            ended = True
        with self._news:
            early = bool(ended and (self._unasked or self._unanswered or self._running) and not self._over)
            self._gone = True
            self._news.notify_all()
        if early:
            self._fail(keeping.gone())

    def _on_event(self, event: dict[str, Any]) -> None:
        start = self._starts[event["service"]]
        if event["event"] == "started":
            self._note_start(start)
        elif event["event"] == "failed":
            self._note_failure(start, event)
        else:
            self._note_end(start)

    def _note_start(self, start: Starting) -> None:
        self._running.add(start.name)
        self._progress.phase(start.name, "waiting")
        self._started(start.name)
        self._answered(start)

    def _note_failure(self, start: Starting, event: dict[str, Any]) -> None:
        from envctl.engines.local.unstartable import unstartable

        self._fail(unstartable(start, event))
        self._answered(start)

    def _answered(self, start: Starting) -> None:
        with self._news:
            self._unanswered.discard(start.name)
            self._news.notify_all()

    def _note_end(self, start: Starting) -> None:
        self._running.discard(start.name)
        death = autopsy(records.read(start.folder))
        taken = _port_taken(start, death)
        if taken is not None:
            self._fail(taken)
        else:
            self._deaths.ended(death)

    def _fail(self, error: BaseException) -> None:
        with self._news:
            first, self._error = self._error is None, self._error or error
            told = first and not self._over
            self._over = True
            self._news.notify_all()
        if told:
            self._failed(error)


def _port_taken(start: Starting, death: Death) -> PortTaken | None:
    """Whether it ended because somebody else has one of its ports: it can still not be had once all of it is gone."""
    from envctl.engines.local import tree
    from envctl.host import ports

    if not start.ports:
        return None
    tree.end([tree.Stop(records.read(start.folder), signal.SIGTERM, _REST_GRACE_S)], keepers=False)
    addresses = dict.fromkeys((start.address, "::"))  # a program may listen on all of them, and find one taken
    for port in start.ports:
        if not all(ports.fixed_port_free(port, address) for address in addresses):
            last = next((line for line in reversed(death.log_tail) if line.strip()), "")
            return PortTaken(port, f"port {port} is in use" + (f"; {start.name} says: {last}" if last else ""))
    return None


def _thread(target: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread
