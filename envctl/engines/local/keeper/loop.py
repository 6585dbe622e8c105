"""The keeper's loop: one thread, and nothing in it waits for one service alone."""

# ruff: noqa: PTH208 - pathlib takes as long to import as the rest of the keeper's start
from __future__ import annotations

import errno
import os
import select
import sys

from .notes import quietly, read_json, to_json
from .service import Service

try:
    import _signal as signal  # type: ignore[import-not-found]  # a part of the interpreter
except ImportError:
    import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_READ_BYTES = 65536
_DRAIN_BYTES = (
    4 * 1024**2
)  # more than a pipe holds by default: what was written before an end, and some of what goes on
_NO_PROGRAM, _NOT_EXECUTABLE = 127, 126  # as shells have them
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER in the kernel's include/uapi/linux/prctl.h

# A terminal that closes, or a signal meant for all of a group, must not take away who notes how the services end.
_IGNORED = ("SIGINT", "SIGHUP", "SIGTERM", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGPIPE")


class Keeper:
    """Everything the keeper has.

    Args:
        lock_fd: The lock that says that something is being started, or -1.
    """

    def __init__(self, lock_fd: int) -> None:
        self._lock_fd = lock_fd
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], object]] = {}
        self._services: dict[int, Service] = {}  # by pid: those whose first process runs
        self._outputs: set[int] = set()
        self._input = b""
        self._open = True
        self._wake = _wake_on_children()
        os.set_blocking(0, False)
        os.set_blocking(1, False)
        self._on(self._wake, self._reap)
        self._on(0, self._receive)

    def run(self) -> None:
        """Until all services have ended, and all that could write to their logs, and no more can come."""
        while self._open or self._services or self._outputs:
            for fd, _ in self._poll.poll():
                if fd in self._handlers:  # or closed by the one before
                    self._handle(fd)

    def _handle(self, fd: int) -> None:
        try:
            self._handlers[fd]()
        except Exception:  # noqa: BLE001 - one service's trouble must not end the others
            sys.excepthook(*sys.exc_info())
            if fd not in {0, self._wake}:
                self._off(fd)

    def _on(self, fd: int, handler: Callable[[], object], events: int = select.POLLIN) -> None:
        self._handlers[fd] = handler
        self._poll.register(fd, events)

    def _off(self, fd: int) -> int:
        """Close what is no longer of interest; returns -1, which is what to call it then."""
        if self._handlers.pop(fd, None):
            self._poll.unregister(fd)
            self._outputs.discard(fd)
            os.close(fd)
        return -1

    def _tell(self, **event: object) -> None:
        """Tell the launcher, if it is still there."""
        quietly(os.write, 1, (to_json(event) + "\n").encode())

    # -- starting ----------------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        data = os.read(0, _READ_BYTES)
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            self._start(Service(read_json(line.decode())))
        if not data:
            self._no_more()

    def _no_more(self) -> None:
        """The launcher is done, or dead: what it asked for is under way."""
        self._open = False
        del self._handlers[0]
        self._poll.unregister(0)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        if self._lock_fd >= 0:
            os.close(self._lock_fd)

    def _start(self, service: Service) -> None:
        try:
            service.spawn()
        except OSError as error:
            self._fail(service, "start", error.errno or 0)
            service.close()
            return
        self._services[service.pid] = service
        self._outputs.add(service.output)
        self._on(service.output, lambda: self._pump(service))
        self._on(service.verdict, lambda: self._judge(service))
        if service.input >= 0:
            self._on(service.input, lambda: self._supply(service), select.POLLOUT)

    def _judge(self, service: Service) -> None:
        """Whether its program runs: `execve` closes the pipe."""
        said = os.read(service.verdict, 1000).decode()
        service.verdict = self._off(service.verdict)
        if not said:
            self._tell(event="started", service=service.name)
            return
        number, _, step = said.partition(" ")
        del self._services[service.pid]
        self._fail(service, step, int(number))

    def _fail(self, service: Service, step: str, number: int) -> None:
        reason = os.strerror(number)
        service.log.feed(f"envctl: cannot start {service.program}: {step}: {reason}\n".encode())
        service.note_end(_NO_PROGRAM if number in {errno.ENOENT, errno.ENOTDIR} else _NOT_EXECUTABLE)
        self._tell(event="failed", service=service.name, step=step, errno=number, error=reason)

    def _supply(self, service: Service) -> None:
        """Pass on the text the program reads; who does not want all of it need not read it."""
        try:
            service.text = service.text[os.write(service.input, service.text) :]
        except OSError:
            service.text = b""
        if not service.text:
            service.input = self._off(service.input)

    # -- keeping -----------------------------------------------------------------------------------------------------

    def _pump(self, service: Service) -> int:
        """Pass on one portion of its output, so that the others get their turn; how many bytes it was."""
        try:
            data = os.read(service.output, service.log.read_bytes)
        except BlockingIOError:
            return 0
        if data:
            service.log.feed(data)
        else:
            service.output = self._off(service.output)
            service.log.close()
        return len(data)

    def _reap(self) -> None:
        """Every child that has ended, also the orphans that were given to us."""
        quietly(os.read, self._wake, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            service = self._services.get(pid)
            if service is not None and service.verdict >= 0:
                self._judge(service)  # it may have failed to start, which is no end
            if service is not None and pid in self._services:
                del self._services[pid]
                self._end(service, os.waitstatus_to_exitcode(status))

    def _end(self, service: Service, exit_code: int) -> None:
        left = _DRAIN_BYTES
        while service.output >= 0 and left > 0 and (read := self._pump(service)):
            left -= read
        service.log.flush()
        exit_code = exit_code if exit_code >= 0 else 128 - exit_code
        service.note_end(exit_code)
        self._tell(event="ended", service=service.name, exit_code=exit_code)


def _wake_on_children() -> int:
    """A pipe that can be read when a child has ended; other signals do nothing."""
    wake, waker = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waker, False)
    for name in _IGNORED:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    return wake


def _adopt_orphans() -> None:
    """Become the parent of all whose parent ends: they stay in our tree, and in a container nobody else reaps them.

    A service may make such processes in its first milliseconds, so this comes before its start, and does without the
    module `ctypes`, whose import takes three of them.
    """
    try:
        import _ctypes  # what `ctypes` is made of; a part of the interpreter

        prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type] # as ctypes.CDLL(None)
        _ctypes.call_function(prctl, (_SUBREAPER, 1, 0, 0, 0))
    except (ImportError, OSError, AttributeError):
        return  # they are found by their variable as well


def main(lock_fd: int) -> None:
    """Keep what standard input says.

    Args:
        lock_fd: The lock's descriptor, or -1.
    """
    for name in os.listdir("/proc/self/fd"):  # what envctl inherited itself; somebody may wait for a pipe's end
        if int(name) > 2 and int(name) != lock_fd:
            quietly(os.close, int(name))
    if lock_fd >= 0:
        os.set_inheritable(lock_fd, False)  # noqa: FBT003 - its signature
    os.chdir("/")
    os.umask(0o077)
    _adopt_orphans()
    Keeper(lock_fd).run()
