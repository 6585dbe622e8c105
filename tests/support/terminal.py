"""A terminal with programs in it, as a person sits at."""

from __future__ import annotations

import fcntl
import os
import pty
import shlex
import signal
import subprocess
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from harness import eventually


class Terminal:
    """A terminal, with a program that is its first process: a shell with job control where none is given.

    Args:
        command: The program.
        environ: Its variables, ours by default.
        cwd: Its working folder.
    """

    def __init__(
        self,
        command: Sequence[str] = ("sh", "-i"),
        *,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.master, slave = pty.openpty()
        self._output = b""
        given = os.environ if environ is None else environ
        kept = {name: value for name, value in given.items() if name not in {"ENV", "BASH_ENV", "PROMPT_COMMAND"}}
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env={**kept, "PS1": "$ ", "HISTFILE": ""},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        os.set_blocking(self.master, False)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.master, text.encode())

    def run(self, command: Sequence[str], after: str = "") -> None:
        """Have the shell run a command; `after` stands behind it."""
        self.type(f"{shlex.join(command)} {after}\n")

    def shows(self, text: str) -> bool:
        """Whether this appears within a few seconds, after what was seen by earlier calls."""
        return eventually(lambda: self._read(text), every_s=0.01)

    def _read(self, text: str) -> bool:
        with suppress(OSError):  # nothing there, or its programs have ended
            self._output += os.read(self.master, 65536)
        before, found, rest = self._output.partition(text.encode())
        self._output = rest if found else before
        return bool(found)

    def holder(self) -> int:
        """The process group that has it."""
        return os.tcgetpgrp(self.master)

    def is_held_by(self, group: int) -> bool:
        """Whether the group has it, or gets it within a few seconds."""
        return eventually(lambda: self.holder() == group, every_s=0.01)

    def echoes(self) -> bool:
        """Whether its modes have it show what is typed."""
        return bool(termios.tcgetattr(self.master)[3] & termios.ECHO)

    def close(self) -> None:
        """End everything that runs in it."""
        for line in subprocess.run(["ps", "-e", "-o", "sid=,pid="], capture_output=True, text=True).stdout.splitlines():
            session, pid = map(int, line.split())
            if session == self.process.pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.master)
