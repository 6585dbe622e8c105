"""A command of the repository that nobody watches: it is waited for, and the last of what it says is kept.

It runs in a session of its own, without our terminal, and all it started there ends with it. Where we are killed, also
by `kill -9`, a guard ends it: a shell that reads from a pipe which nobody writes to, and whose end comes with ours.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from envctl.host import clock
from envctl.host.child import Child
from envctl.host.signals import shielded

_GRACE_S = 5.0
_STRAGGLERS_GRACE_S = 2.0
_DRAIN_S = 1.0
_KEPT_LINES, _LONGEST_LINE = 100, 2000
_CHUNK = 64 * 1024
_CONTROL = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b[@-Z\\-_]")

_GUARD = """
read -r _
kill -TERM -$1 || exit 0
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do kill -0 -$1 || exit 0; sleep 0.1; done
kill -KILL -$1
"""


class Ended(NamedTuple):
    """How a command ended.

    Attributes:
        code: Its exit code, 128 + N if it died of signal N; None where it took too long and was ended.
        lines: The last lines it said, on either stream, without colors.
    """

    code: int | None
    lines: tuple[str, ...]


def run(
    command: Sequence[str],
    environ: Mapping[str, str],
    cwd: Path,
    *,
    limit_s: float,
    told: Callable[[str], None] = lambda _: None,
) -> Ended:
    """Run a command to its end. What it leaves running in its process group is ended.

    Args:
        command: Program and arguments; the program is looked for in the PATH of `environ`.
        environ: All of its variables.
        cwd: Its working folder.
        limit_s: How long it may take, seconds.
        told: Is called with its newest line now and then, from another thread.

    Raises:
        CommandNotFound: There is no such program.
        CommandNotExecutable: It is there, and cannot be run.
        OsLimit: There are too many processes, or too little memory.
        Interrupted: A signal came meanwhile; the command was ended.
    """
    with ExitStack() as stack:
        started: list[Child] = []
        try:
            with shielded():
                process = _spawned(command, environ, cwd)
                started.append(Child(process, foreground=False))
                stack.enter_context(_Guard(process.pid))
                output = _Output(process, told)
            in_time = started[0].ends_until(clock.monotonic_s() + limit_s)
        except BaseException:
            with shielded():
                for child in started:
                    child.end(_GRACE_S)
            raise
        with shielded():
            code = started[0].wait() if in_time else started[0].end(_GRACE_S)
            started[0].end_stragglers(_STRAGGLERS_GRACE_S)
        return Ended(code if in_time else None, output.lines())


def _spawned(command: Sequence[str], environ: Mapping[str, str], cwd: Path) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(command),
            env=environ,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        from envctl.host.unrunnable import why

        raise why(command, environ, cwd, error) from error


class _Guard:
    """A process that ends a group when ours ends; for the time of the block."""

    def __init__(self, group: int) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "envctl-guard", str(group)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()


class _Output:
    """The last lines of a command, read as they come, so that it never waits for us."""

    def __init__(self, process: subprocess.Popen[bytes], told: Callable[[str], None]) -> None:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        self._pipe = process.stdout
        self._told = told
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._rest = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def lines(self) -> tuple[str, ...]:
        """The last lines, once the command has ended; what has left its group may go on saying something."""
        self._thread.join(_DRAIN_S)
        found = [*self._lines, *([_plain(self._rest)] if self._rest else [])]
        return tuple(line for line in found if line.strip())

    def _read(self) -> None:
        with suppress(OSError, ValueError), self._pipe:
            while chunk := os.read(self._pipe.fileno(), _CHUNK):
                *whole, rest = (self._rest + chunk).split(b"\n")
                self._lines.extend(map(_plain, whole[-_KEPT_LINES:]))
                self._rest = rest[-_LONGEST_LINE:]
                if whole and self._lines[-1]:
                    self._told(self._lines[-1])


def _plain(line: bytes) -> str:
    """A line as a terminal would show it in the end: of a progress bar, what was drawn last."""
    text = _CONTROL.sub("", line[-_LONGEST_LINE:].decode(errors="replace"))
    return text.rstrip("\r").rpartition("\r")[2].rstrip()
