"""The user's command of `envctl run`: started, waited for, signalled and ended, with all of its process group.

    with shielded():                       # a signal that comes now is raised when `child` is known
        child = start(command, environ)
    try:
        code = child.wait()
    except Interrupted as interruption:    # resumable: pass the signal on, wait again, or end it
        with shielded():
            child.signal(interruption.signal_number)
            code = child.end(grace_s=10)
    with shielded():
        left = child.end_stragglers(grace_s=2)

Where we have a terminal, the command gets it (`job.py`). While it has it, the terminal's keys are for it alone: Ctrl-C
raises no `Interrupted` here. If the command dies of it, `wait` gives 130; if it goes on, so do we.

It inherits what any wrapper would pass on: the three standard streams themselves, descriptors the caller gave us
(`<(…)` of a shell, make's job server), signals the caller had ignored (`nohup`). Descriptors that we opened close by
themselves (PEP 446), and what Python ignores for itself (SIGPIPE) is as usual again.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envctl.host import clock, owner, stragglers
from envctl.host.job import Job
from envctl.host.signals import farewell, shielded
from envctl.host.stragglers import Straggler

if TYPE_CHECKING:
    import subprocess

# How often we look whether it was stopped, or a signal came just before we began to wait. Its end wakes us at once.
_LOOK_AGAIN_S = 0.02
_SETTLE_S = 0.1  # helpers of a command (Python's resource tracker) notice its end and end by themselves
_KILL_LIMIT_S = 5.0
_GRACE_AT_START_S = 2.0


class Streams(NamedTuple):
    """Descriptors of a command's standard streams; None for ours."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None


class Child:
    """A command that was started, in a process group of its own.

    Until `end` or `end_stragglers` its exit code stays with the kernel, so that its number, which names the group, can
    be nobody else's. It is for the main thread, where signals arrive.

    Args:
        process: The command, the leader of its group.
        foreground: Whether it is lent the terminal, where we have one.

    Attributes:
        pid: Its process id, and that of its group.
        start_ticks: When it was started, in clock ticks since boot; 0 where unknown.
    """

    def __init__(self, process: subprocess.Popen[bytes], *, foreground: bool = True) -> None:
        self.pid = process.pid
        known = owner.of(self.pid)
        self.start_ticks = known.start_ticks if known else 0
        self._process = process  # held: subprocess reaps what nobody holds
        self._code: int | None = None
        self._reaped = self._over = self._ending = False
        self._pidfd = _pidfd(self.pid)
        self._alive = ExitStack()  # closed when all has ended
        self._alive.enter_context(farewell(self._kill))
        self._job = Job.of(self.pid) if foreground else None
        if self._job:
            self._job.begin()

    def has_ended(self) -> bool:
        """Whether it has ended; if it was stopped in our terminal, this returns when both of us were continued."""
        return self._look() is not None

    def wait(self) -> int:
        """Wait until it has ended, and take the terminal back; its exit code, 128 + N if it died of signal N.

        Can be called again: after an interruption it goes on waiting, after the end it gives the same code.

        Raises:
            Interrupted: A signal came; the command goes on. What a second one ends with us, it ends too.
        """
        while (code := self._look()) is None:
            self._rest(_LOOK_AGAIN_S)
        return code

    def signal(self, number: int) -> None:
        """Send a signal to all of its group. Does nothing if that is gone, or belongs to another user (sudo)."""
        if self._over:
            return
        with suppress(ProcessLookupError, PermissionError):
            if stragglers.exists(self.pid) or self._reaped:
                os.killpg(self.pid, number)
            else:  # it has gone to another group
                os.kill(self.pid, number)

    def end(self, grace_s: float) -> int:
        """End it and all of its group: SIGTERM, after `grace_s` seconds SIGKILL; its exit code.

        137 also for one that cannot be killed, which is then left: it is another user's, or hangs in the kernel.

        Raises:
            Interrupted: A signal came before the end. Call it again, or within `shielded`.
        """
        self._end_group(grace_s)
        return 128 + signal.SIGKILL if self._code is None else self._code

    def end_stragglers(self, grace_s: float) -> list[Straggler]:
        """After it has ended: end those of its group that still run, as in `end`; which there were.

        What has left the group (`setsid`, a daemon) is left alone, and who is about to end by himself is not named.

        Raises:
            Interrupted: As in `end`.
        """
        if self._look() is None:
            return []
        self._reap()  # first: then a look at the group costs nothing where nobody is left. Who is left keeps its number
        left = stragglers.wait_for_end(self.pid, clock.monotonic_s() + _SETTLE_S)
        if left:
            self._end_group(grace_s)
        self._forget()
        return left

    # -- looking ---------------------------------------------------------------------------------------------------

    def _look(self) -> int | None:
        """Its exit code, or None while it lives. Nothing is lost where a signal tears this apart."""
        if self._code is not None:
            return self._code
        stops = os.WSTOPPED if self._job else 0
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | stops | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None
        if found.si_code == os.CLD_STOPPED:
            self._pause()
            return None
        died = found.si_code != os.CLD_EXITED
        self._let_go(restore=died)
        self._code = self._process.returncode = 128 + found.si_status if died else found.si_status
        return self._code

    def _pause(self) -> None:
        with shielded():
            found = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG)
            if found and self._job:
                self._job.pause(found.si_status, alone=self._ending)

    def _rest(self, limit_s: float) -> None:
        """Wait for its end, but not longer than so many seconds."""
        if self._pidfd is None:
            clock.sleep_s(limit_s)
            return
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        poll.poll(limit_s * 1000)

    def ends_until(self, until_s: float) -> bool:
        """Whether it ends before the clock (`monotonic_s`) says `until_s`; waits as `wait` does."""
        while self._look() is None:
            left_s = until_s - clock.monotonic_s()
            if left_s <= 0:
                return False
            self._rest(min(left_s, _LOOK_AGAIN_S))
        return True

    # -- ending ----------------------------------------------------------------------------------------------------

    def _end_group(self, grace_s: float) -> None:
        self._ending = True
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)  # who is stopped notices nothing else
        if self._group_ends_until(clock.monotonic_s() + grace_s):
            return
        self.signal(signal.SIGKILL)
        self._group_ends_until(clock.monotonic_s() + _KILL_LIMIT_S)
        self._let_go(restore=True)

    def _group_ends_until(self, until_s: float) -> bool:
        if not self.ends_until(until_s):
            return False
        self._reap()
        if stragglers.wait_for_end(self.pid, until_s):
            return False
        self._forget()
        return True

    def _forget(self) -> None:
        """From now on its number may be anybody's."""
        self._over = True
        self._alive.close()

    def _reap(self) -> None:
        """Have the kernel forget its exit code, which we know."""
        if not self._reaped:
            self._reaped = True
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG)

    def _let_go(self, *, restore: bool) -> None:
        with shielded():
            if self._job:
                self._job.take(restore=restore)
                self._job.close()
                self._job = None
            if self._pidfd is not None:
                os.close(self._pidfd)
                self._pidfd = None

    def _kill(self) -> None:
        """A second signal ends us at once: the command must not go on without us, nor keep the terminal."""
        self.signal(signal.SIGKILL)
        if self._job:
            self._job.take(restore=True)


def start(
    command: Sequence[str],
    environ: Mapping[str, str],
    cwd: Path | None = None,
    *,
    begins: Callable[[], None] | None = None,
    streams: Streams | None = None,
) -> Child:
    """Start a command, and lend it the terminal where there is one, unless it has other streams.

    Args:
        command: Program and arguments; the program is looked for in the PATH of `environ`.
        environ: All of its variables.
        cwd: Its working folder, None for ours.
        begins: Called in the new process just before the command takes its place; it must not raise, nor wait.
        streams: Its standard streams, where these are not ours.

    Raises:
        CommandNotFound: There is no such program.
        CommandNotExecutable: It is there, and cannot be run.
        OsLimit: There are too many processes, or too little memory.
        Interrupted: A signal came meanwhile; the command was ended.
    """
    started: list[Child] = []
    try:
        with shielded():
            process = _spawned(command, environ, cwd, begins, streams or Streams())
            started.append(Child(process, foreground=streams is None))
        return started[0]
    except BaseException:
        with shielded():
            for child in started:
                child.end(_GRACE_AT_START_S)
        raise


def _spawned(
    command: Sequence[str],
    environ: Mapping[str, str],
    cwd: Path | None,
    begins: Callable[[], None] | None,
    streams: Streams,
) -> subprocess.Popen[bytes]:
    import subprocess

    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a careless caller's: the kernel would throw exit codes away
    try:
        return subprocess.Popen(
            list(command),
            env=environ,
            cwd=cwd,
            process_group=0,
            close_fds=False,
            preexec_fn=begins,
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr,
        )
    except OSError as error:
        from envctl.host.unrunnable import why

        raise why(command, environ, cwd, error) from error


def _pidfd(pid: int) -> int | None:
    """A descriptor that can be read when the process has ended; None where the system has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None
