"""A keeper under way, from the side of the one who started it: what it is asked, what it says."""

from __future__ import annotations

import fcntl
import json
import os
import select
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from envctl.engines.local.census import COOKIE
from envctl.errors import EngineFailed
from envctl.host import clock

_PROGRAM = Path(__file__).parent / "keeper" / "run.py"
_OPTIONS = ("-I", "-S", "-X", "utf8")  # nothing of the caller's Python reaches it, and texts are bytes
_LOCK_FD = 3
_KEPT_LINES = 20
_END_LIMIT_S, _LOOK_AGAIN_S = 2.0, 0.001


class Keeping:
    """A keeper that was started.

    Its `listen` is for a thread; the rest may be called from any.

    Args:
        lock_fd: A lock that it holds until it has started what it was asked to, even if we are killed; or -1.

    Raises:
        EngineFailed: It cannot be started.
    """

    def __init__(self, lock_fd: int) -> None:
        self._said: list[str] = []  # what is no event: a traceback
        reader, self._requests = os.pipe()
        self._events, writer = os.pipe()
        self._wake, self._waker = os.pipe()
        sources = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (reader, writer)]  # none is one of the targets
        if lock_fd >= 0:
            sources.append(fcntl.fcntl(lock_fd, fcntl.F_DUPFD_CLOEXEC, 10))
        try:
            self.pid = _spawn(*sources)
        except OSError as error:
            self._close_all()
            raise self._failed(f"{sys.executable}: {error.strerror}") from error
        finally:
            for fd in (reader, writer, *sources):
                os.close(fd)

    def ask(self, request: Mapping[str, Any]) -> None:
        """Have a service started. Not to be called by two threads at a time.

        Raises:
            OSError: The keeper is gone.
        """
        data = memoryview((json.dumps(request) + "\n").encode())
        while data:
            data = data[os.write(self._requests, data) :]

    def no_more(self) -> None:
        """Nothing more will be asked; again does nothing."""
        requests, self._requests = self._requests, -1
        if requests >= 0:
            os.close(requests)

    def listen(self, on_event: Callable[[dict[str, Any]], None]) -> bool:
        """Pass on its events until it has ended or `hang_up` is called; then it is let go of. Whether it has ended."""
        poll = select.poll()
        poll.register(self._events, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        unfinished = b""
        try:
            while True:
                ready = {fd for fd, _ in poll.poll()}
                if self._wake in ready:
                    return False
                data = os.read(self._events, 65536)
                if not data:
                    self._reap()
                    return True
                *lines, unfinished = (unfinished + data).split(b"\n")
                for line in lines:
                    self._pass_on(line, on_event)
        finally:
            os.close(self._events)
            os.close(self._wake)

    def _reap(self) -> None:
        """Take the end of the keeper, which follows its last word; one that hangs there is not waited for."""
        until_s = clock.monotonic_s() + _END_LIMIT_S
        with suppress(ChildProcessError):
            while os.waitpid(self.pid, os.WNOHANG)[0] == 0 and clock.monotonic_s() < until_s:
                clock.sleep_s(_LOOK_AGAIN_S)

    def hang_up(self) -> None:
        """Listen no more; it goes on by itself. To be called once."""
        os.close(self._waker)

    def gone(self) -> EngineFailed:
        """The error for a keeper that ended before its time."""
        return self._failed("it ended before it had started everything")

    def _pass_on(self, line: bytes, on_event: Callable[[dict[str, Any]], None]) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict):
            on_event(event)
        else:
            self._said = [*self._said[1 - _KEPT_LINES :], line.decode(errors="replace")]

    def _close_all(self) -> None:
        for fd in (self._requests, self._events, self._wake, self._waker):
            os.close(fd)

    def _failed(self, cause: str) -> EngineFailed:
        return EngineFailed(
            "the program that keeps the services' processes failed",
            cause=cause,
            evidence=self._said,
            fix=["try again", "envctl doctor"],
        )


def _spawn(reader: int, writer: int, lock_fd: int = -1) -> int:
    """Start the interpreter in a session of its own, where no terminal reaches it."""
    environment = {name: value for name, value in os.environ.items() if name != COOKIE}  # it is nobody's child
    inherited = [(os.POSIX_SPAWN_DUP2, reader, 0), (os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_DUP2, writer, 2)]
    if lock_fd >= 0:
        inherited.append((os.POSIX_SPAWN_DUP2, lock_fd, _LOCK_FD))
    arguments = [sys.executable, *_OPTIONS, str(_PROGRAM), str(_LOCK_FD if lock_fd >= 0 else -1)]
    return os.posix_spawn(sys.executable, arguments, environment, file_actions=inherited, setsid=True, setsigmask=())
