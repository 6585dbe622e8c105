"""A command that begins, and ends when a test lets it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path

import process_table
from harness import Project, eventually


def removal_begins_after_s(project: Project, process: subprocess.Popen[str], number: int) -> float:
    """Send a signal to an `envctl run`; how long it took until the removal of its environment was written down."""
    with suppress(PermissionError):  # where we may, other tests are to wait meanwhile
        os.setpriority(os.PRIO_PROCESS, process.pid, -15)
    with closing(sqlite3.connect(project.state / "registry.db")) as rows:
        process.send_signal(number)
        sent_s = time.monotonic()
        while rows.execute("SELECT state FROM environments").fetchall() == [("ready",)]:
            assert time.monotonic() - sent_s < 10
        return time.monotonic() - sent_s


class Held:
    """A shell command that writes down that it has begun, and waits.

    Args:
        project: Whose folder it writes into.
        first: What the shell does before it says that it has begun: `trap '' TERM`.
        last: What it does when it is let go.

    Attributes:
        words: Program and arguments.
    """

    def __init__(self, project: Project, first: str = ":", last: str = "exit 0") -> None:
        number = len(list(project.folder.glob("held-*")))
        self._folder = project.folder / f"held-{number}"
        self._folder.mkdir()
        os.mkfifo(self._folder / "gate")
        begun = f'env > "{self._folder}/environ"; echo $$ > "{self._folder}/pid"'
        self.words = ["sh", "-c", f'{first}\n{begun}\nread _ < "{self._folder}/gate"\n{last}']

    @property
    def has_begun(self) -> bool:
        """Whether it has begun and waits, within a few seconds."""

        def begun() -> bool:
            said = self._says("pid")
            return said.endswith("\n") and process_table.waits(int(said))

        return eventually(begun, limit_s=20, every_s=0.01)

    @property
    def pid(self) -> int:
        """Its number, when it has begun."""
        assert eventually(lambda: self._says("pid").endswith("\n"), limit_s=20, every_s=0.01)
        return int(self._says("pid"))

    @property
    def environ(self) -> dict[str, str]:
        """Its variables, when it has begun."""
        assert self.has_begun, "the command did not begin"
        pairs = (line.partition("=") for line in self._says("environ").splitlines())
        return {name: value for name, _, value in pairs}

    @property
    def lives(self) -> bool:
        """Whether it has begun and not ended."""
        return process_table.look_at(self.pid) is not None

    @property
    def has_ended(self) -> bool:
        """Whether it ends within a few seconds."""
        return eventually(lambda: not self.lives)

    def release(self) -> None:
        """Let it go."""
        assert self.has_begun, "the command did not begin"

        def opened() -> int:
            with suppress(OSError):  # it is not at the gate yet
                return os.open(self._folder / "gate", os.O_WRONLY | os.O_NONBLOCK)
            return -1

        gate = eventually(lambda: max(opened(), 0), every_s=0.01)
        assert gate, "the command does not wait"
        os.write(gate, b"go\n")
        os.close(gate)

    def kill(self) -> None:
        """`kill -9` of it."""
        os.kill(self.pid, signal.SIGKILL)

    def _says(self, name: str) -> str:
        file = Path(self._folder / name)
        return file.read_text() if file.exists() else ""
