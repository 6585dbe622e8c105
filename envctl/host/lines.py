"""What several commands say at once, line by line, each line with the name of its command before it."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from envctl.host.child import Streams

_PIECE = 1 << 16
_STDOUT, _STDERR = 1, 2


class _Source(NamedTuple):
    """One of a command's streams: what stands before its lines, where they go, and what has no end yet."""

    prefix: bytes
    target: int
    begun: bytearray


class Lines:
    """Writes to our stdout and stderr what commands say on theirs.

        with lines.streams("[1] ") as streams:
            child = start(command, environ, streams=streams)
        lines.begin()
        …
        lines.end(limit_s)

    The commands read nothing: their stdin is empty.
    """

    def __init__(self) -> None:
        self._sources: dict[int, _Source] = {}
        self._thread = threading.Thread(target=self._run, name="envctl-lines", daemon=True)

    @contextmanager
    def streams(self, prefix: str) -> Iterator[Streams]:
        """The streams of a command that is started in the block."""
        ours: list[int] = []
        try:
            ours.append(os.open(os.devnull, os.O_RDONLY))
            for target in (_STDOUT, _STDERR):
                reader, writer = os.pipe()
                ours.append(writer)
                self._sources[reader] = _Source(prefix.encode(), target, bytearray())
            yield Streams(*ours)
        finally:
            for fd in ours:
                os.close(fd)

    def begin(self) -> None:
        """Write from now on, until all streams have ended; all commands have been started."""
        self._thread.start()

    def end(self, limit_s: float) -> None:
        """Wait until all that was said is written; for `limit_s` seconds where somebody keeps a stream open."""
        if self._thread.is_alive():
            self._thread.join(limit_s)

    def _run(self) -> None:
        poll = select.poll()
        for fd in self._sources:
            poll.register(fd, select.POLLIN)
        while self._sources:
            for fd, _ in poll.poll():
                if not self._copy(fd):
                    poll.unregister(fd)
                    os.close(fd)
                    del self._sources[fd]

    def _copy(self, fd: int) -> bool:
        """Copy what is there; whether there can be more. Where nobody reads us, nobody reads the command either."""
        prefix, target, begun = self._sources[fd]
        piece = os.read(fd, _PIECE)
        begun += piece
        whole = begun.rfind(b"\n") + 1
        if len(begun) > _PIECE or not piece:
            whole = len(begun)
        lines = bytes(begun[:whole]).removesuffix(b"\n").split(b"\n") if whole else []
        del begun[:whole]
        text = b"".join(prefix + line + b"\n" for line in lines)
        return _write(target, text) and bool(piece)


def _write(target: int, text: bytes) -> bool:
    left = memoryview(text)
    while left:
        try:
            left = left[os.write(target, left) :]
        except BlockingIOError:  # somebody who shares it has made it so
            with suppress(OSError):
                select.select([], [target], [], 1.0)
        except OSError:
            return False
    return True
