"""Child processes with a clock: how long one took, what it said, and when it said it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

_GRACE_S = 60.0  # a signalled `envctl up` rolls back before it ends


class BenchmarkError(Exception):
    """A measured command failed: its time would mean nothing."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of stderr and when it arrived, nanoseconds since the epoch."""

    at_ns: int
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """An ended process. `seconds` runs from before its start to after its end was collected."""

    argv: tuple[str, ...]
    code: int
    out: str
    lines: tuple[Line, ...]
    seconds: float
    ended_ns: int

    @property
    def err(self) -> str:
        """Stderr as one text."""
        return "\n".join(line.text for line in self.lines)

    def checked(self) -> Finished:
        """Itself; raises BenchmarkError where it failed."""
        if self.code != 0:
            raise BenchmarkError(f"{' '.join(self.argv)} ended with code {self.code}\n{self.out}{self.err}")
        return self


def _ended(pid: int, limit_s: float) -> bool:
    """Whether our child `pid` ends within the limit."""
    child = os.pidfd_open(pid)
    try:
        return bool(select.select([child], [], [], limit_s)[0])
    finally:
        os.close(child)


class Running:
    """A process under way, in a session of its own, so that a Ctrl-C is ours to pass on."""

    def __init__(self, argv: Sequence[str], cwd: Path, environ: Mapping[str, str], *, talk: bool = False) -> None:
        self.argv = tuple(argv)
        self._out: list[str] = []
        self._lines: list[Line] = []
        self._spoke = threading.Event()
        self._answers: SimpleQueue[str] = SimpleQueue()
        self._began_s = time.perf_counter()
        self.process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=environ,
            stdin=subprocess.PIPE if talk else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert self.process.stdout
        assert self.process.stderr
        self._readers = [_thread(self._read_out, self.process.stdout), _thread(self._read_err, self.process.stderr)]

    def finish(self, limit_s: float) -> Finished:
        """Wait for its end.

        Raises:
            BenchmarkError: It did not end within `limit_s`.
        """
        # Not Popen.wait with a limit: it sleeps up to 50 ms between two looks, which would be in every figure.
        if self.process.poll() is None and not _ended(self.process.pid, limit_s):
            raise BenchmarkError(f"{' '.join(self.argv)} did not end within {limit_s:.0f} s\n{self._err()}")
        code = self.process.wait()
        ended_ns, seconds = time.time_ns(), time.perf_counter() - self._began_s
        for reader in self._readers:
            reader.join(limit_s)
        return Finished(self.argv, code, "".join(self._out), tuple(self._lines), seconds, ended_ns)

    def await_output(self, limit_s: float) -> bool:
        """Wait for the first line on stdout; False where the process ended, or the time did, without one."""
        return self._spoke.wait(limit_s) and bool(self._out)

    def ask(self, line: str, limit_s: float = 60.0) -> str:
        """Write a line to its stdin, and wait for the next one on its stdout. Raises BenchmarkError without one."""
        assert self.process.stdin
        with suppress(OSError):  # it has ended, and answers nothing
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
        return self.answer(limit_s)

    def answer(self, limit_s: float) -> str:
        """Wait for its next line on stdout. Raises BenchmarkError without one."""
        try:
            answer = self._answers.get(timeout=limit_s)
        except Empty:
            answer = ""
        if not answer:
            raise BenchmarkError(f"{' '.join(self.argv)} did not answer\n{self._err()}")
        return answer

    def stop(self) -> None:
        """End it, the way a user would first."""
        for number, wait_s in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, 5.0)):
            if self.process.poll() is not None:
                return
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(wait_s)

    def _err(self) -> str:
        return "\n".join(line.text for line in self._lines)

    def _read_out(self, stream: IO[str]) -> None:
        with stream:
            for text in stream:
                self._out.append(text)
                self._answers.put(text)
                self._spoke.set()
        self._answers.put("")
        self._spoke.set()

    def _read_err(self, stream: IO[str]) -> None:
        with stream:
            for text in stream:
                self._lines.append(Line(time.time_ns(), text.rstrip("\n")))


@contextmanager
def running(argv: Sequence[str], cwd: Path, environ: Mapping[str, str], *, talk: bool = False) -> Iterator[Running]:
    """A process that does not outlive the block, however that ends; with `talk`, its stdin is a pipe."""
    child = Running(argv, cwd, environ, talk=talk)
    try:
        yield child
    finally:
        child.stop()


def run(argv: Sequence[str], cwd: Path, environ: Mapping[str, str], limit_s: float = 300.0) -> Finished:
    """Run a process to its end. Raises as `Running.finish`; its exit code is the caller's to check."""
    with running(argv, cwd, environ) as child:
        return child.finish(limit_s)


def up_and_down(argv: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> dict[str, float]:
    """A peer that says one line on stdout when it is up, and goes down when its stdin ends: seconds of both.

    Raises:
        BenchmarkError: It did not come up, or failed.
    """
    began_s = time.perf_counter()
    with running(argv, cwd, environ, talk=True) as child:
        if not child.await_output(120.0):
            child.stop()
            raise BenchmarkError(f"{' '.join(argv)} did not come up\n{child.finish(10.0).err}")
        up_s = time.perf_counter() - began_s
        asked_s = time.perf_counter()
        assert child.process.stdin
        child.process.stdin.close()
        child.finish(60.0).checked()
        return {"up": up_s, "down": time.perf_counter() - asked_s}


def _thread(work: Callable[[IO[str]], None], stream: IO[str]) -> threading.Thread:
    thread = threading.Thread(target=work, args=(stream,), daemon=True)
    thread.start()
    return thread
