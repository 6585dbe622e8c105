"""A program that reads a file of ours or writes one, of any length, while what it complains of is kept."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Thread
from typing import IO, BinaryIO, Protocol, TypeAlias

from envctl.host.signals import shielded

_PIECE = 1 << 18
_MOST_SAID = 64 * 1024


class Writable(Protocol):
    """Where a program's output goes."""

    def write(self, piece: bytes, /) -> int:
        """Take it."""
        ...


Start: TypeAlias = Callable[[int, int], "subprocess.Popen[bytes]"]
"""Starts a program with these as its stdin and stdout, and a pipe as its stderr."""


def run(
    start: Start,
    kill: Callable[[subprocess.Popen[bytes]], None],
    *,
    stdin: BinaryIO | None = None,
    stdout: Writable | None = None,
) -> tuple[int, str]:
    """Run a program to its end: what `Popen` says of its exit, and the last of what it said on stderr.

    Args:
        start: Starts it.
        kill: Ends it and waits for that, where we are interrupted, or cannot read `stdin` or write `stdout`.
        stdin: What it reads; None for nothing.
        stdout: Where what it writes goes; None for nowhere. Only one of both can be given.

    Raises:
        OSError: It cannot be started.
    """
    if stdin is not None and stdout is not None:
        raise ValueError("it cannot be fed and listened to at once")
    started: list[subprocess.Popen[bytes]] = []
    said = bytearray()
    try:
        with shielded():  # a signal while it is being started would lose it
            started.append(start(_pipe_for(stdin), _pipe_for(stdout)))
        (process,) = started
        listener = Thread(target=_keep_last, args=(process.stderr, said), daemon=True)
        listener.start()
        if stdin is not None:
            _feed(stdin, process.stdin)
        elif stdout is not None:
            for piece in _pieces(process.stdout):
                stdout.write(piece)
        code = process.wait()
        listener.join(1.0)  # what it has started and left behind may hold the pipe
    except BaseException:
        for process in started:
            kill(process)
        raise
    finally:
        for process in started:
            _close(process)
    return code, said.decode(errors="replace")


def _pipe_for(stream: object | None) -> int:
    return subprocess.DEVNULL if stream is None else subprocess.PIPE


def _feed(source: BinaryIO, into: IO[bytes] | None) -> None:
    while into is not None and (piece := source.read(_PIECE)):
        try:
            into.write(piece)
        except BrokenPipeError:  # it has ended, and its exit code says why
            return
    if into is not None:
        with suppress(BrokenPipeError):
            into.close()


def _pieces(pipe: IO[bytes] | None) -> Iterator[bytes]:
    while pipe is not None and (piece := pipe.read1(_PIECE)):  # type: ignore[attr-defined]  # it is buffered
        yield piece


def _keep_last(pipe: IO[bytes] | None, said: bytearray) -> None:
    with suppress(OSError, ValueError):  # closed meanwhile
        for piece in _pieces(pipe):
            said += piece
            del said[:-_MOST_SAID]


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError, ValueError):
                pipe.close()
