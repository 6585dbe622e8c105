"""Who has the terminal: our process group or a command's. What a shell does for its jobs, for one command of ours.

The group that has the terminal is the one that may read it, and the one that gets the signals of its keys. So while
the command has it, Ctrl-C is for the command alone. When Ctrl-Z stops the command we stop with our whole group, so that
the shell that waits for us shows its prompt, and `fg` brings both back.

In a pipeline (`envctl run -- pytest | less`) a neighbour in our group may need the terminal at the same time. There it
stays ours until the command asks for it, which is when the kernel stops the command for using it (SIGTTIN, SIGTTOU).
A job in the background has no terminal to hand on; after `fg` it has one, and the same rule hands it on.
"""

from __future__ import annotations

import os
import signal
import stat
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from envctl.host import stragglers

_ASKS = (signal.SIGTTIN, signal.SIGTTOU)


class Job:
    """The terminal between our group and that of one command. Every step can be repeated after it was torn apart.

    Args:
        group: The command's process group.
        terminal: A descriptor of our controlling terminal, which becomes ours.
    """

    def __init__(self, group: int, terminal: int) -> None:
        self._group = group
        self._terminal = terminal
        self._lent = False
        self._modes: list[Any] | None = None  # the terminal's, before we lent it

    @classmethod
    def of(cls, group: int) -> Job | None:
        """The job of this group, or None where we have no controlling terminal."""
        try:
            return cls(group, os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        except OSError:
            return None

    def begin(self) -> None:
        """Lend the terminal to the command that was just started, unless it is to ask for it."""
        if not _in_pipeline():
            self.lend()

    def lend(self, modes: list[Any] | None = None) -> bool:
        """Lend the terminal to the command and have it go on, if the terminal is ours to lend; whether it was.

        Args:
            modes: The terminal's modes as the command left them when it stopped.
        """
        if self._holder() != os.getpgrp():
            return False
        self._modes, self._lent = self._read_modes(), True
        self._write_modes(modes)
        self._hand_to(self._group)
        self.resume()
        return True

    def take(self, *, restore: bool) -> None:
        """Take the terminal back if the command's group still has it, or nobody has.

        Not if another group has got it meanwhile: a shell that stopped us has taken it for itself.

        Args:
            restore: Put back the modes it had; a command that ended by itself may have changed them on purpose (stty).
        """
        if not self._lent:
            return
        holder = self._holder()
        if holder == self._group or (holder > 0 and not stragglers.exists(holder)):
            self._hand_to(os.getpgrp())
            if restore:
                self._write_modes(self._modes)
        self._lent = False

    def pause(self, number: int, *, alone: bool = False) -> None:
        """Stop ourselves as signal `number` has stopped the command; have it go on when we do.

        Where nobody could continue us (we are the terminal's first process), the kernel does not let keys stop us.
        Then they do not stop the command either.

        Args:
            number: What stopped it.
            alone: Have it go on at once, and do not stop: it is to end now.
        """
        if number in _ASKS and self._answer():
            return
        if alone:
            self.resume()
            return
        modes = self._read_modes() if self._holder() == self._group else None
        self.take(restore=True)
        stopped = _stop(number if number in _ASKS else signal.SIGTSTP)
        if not stopped and number == signal.SIGSTOP:
            return  # sent by somebody who will also continue it
        if not self.lend(modes):
            self.resume()

    def resume(self) -> None:
        """Have all of the command go on that was stopped."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._group, signal.SIGCONT)

    def close(self) -> None:
        """Forget the terminal. Afterwards nothing of this may be used."""
        os.close(self._terminal)

    def _answer(self) -> bool:
        """Give the command what it asked for; whether we could."""
        if self._holder() == self._group:  # it asked just before it was lent
            self.resume()
            return True
        return self.lend()

    def _holder(self) -> int:
        try:
            return os.tcgetpgrp(self._terminal)
        except OSError:  # the terminal is gone
            return 0

    def _hand_to(self, group: int) -> None:
        with _not_stopped(), suppress(OSError):
            os.tcsetpgrp(self._terminal, group)

    def _read_modes(self) -> list[Any] | None:
        try:
            return termios.tcgetattr(self._terminal)
        except (OSError, termios.error):
            return None

    def _write_modes(self, modes: list[Any] | None) -> None:
        if modes is not None:
            with _not_stopped(), suppress(OSError, termios.error):
                # Not TCSADRAIN: with the output held (Ctrl-S) it would wait for a key.
                termios.tcsetattr(self._terminal, termios.TCSANOW, modes)


def _in_pipeline() -> bool:
    """Whether standard input or output is a pipe (some shells make them of sockets)."""
    for fd in (0, 1):
        with suppress(OSError):
            mode = os.fstat(fd).st_mode
            if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
                return True
    return False


@contextmanager
def _not_stopped() -> Iterator[None]:
    """The kernel stops a group in the background that changes the terminal, unless SIGTTOU is blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stop(number: int) -> bool:
    """Stop our whole group; when something has continued it, whether it had been stopped at all."""
    # A blocked SIGCONT continues us all the same, and stays to be seen.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCONT})
    try:
        os.killpg(0, number)
        return signal.SIGCONT in signal.sigpending()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
