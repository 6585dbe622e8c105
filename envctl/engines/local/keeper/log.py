"""A service's log: lines with their time, in a file that never exceeds its limit."""

# ruff: noqa: PTH105 - pathlib takes as long to import as the rest of the keeper's start
from __future__ import annotations

import os
import time

from .notes import quietly

_READ_BYTES = 65536
_LONGEST_LINE_BYTES = 16384
# A line of one byte becomes one of sixteen: what is read at once must fit into half of the file.
_EXPANSION = 32


class Log:
    """Takes output as it comes and writes `SECONDS.mmm TEXT` lines; a full file becomes `log.1`.

    Nothing that fails here reaches the service or its keeper: what cannot be written is lost, and counted.

    Args:
        path: The file.
        limit_bytes: Its greatest size, in bytes; about a kilobyte is the least that makes sense.
    """

    def __init__(self, path: str, limit_bytes: int) -> None:
        self._path, self._limit = path, limit_bytes
        self._longest = max(1, min(_LONGEST_LINE_BYTES, limit_bytes // 4))
        self.read_bytes = max(1, min(_READ_BYTES, limit_bytes // _EXPANSION))
        self._partial = b""
        self._lost, self._why = 0, ""
        self._fd, self._size = -1, 0

    def feed(self, data: bytes) -> None:
        """Take output; a line is written when it is whole, or too long to wait for its end.

        Args:
            data: At most `read_bytes`.
        """
        lines = (self._partial + data).split(b"\n")
        self._partial = lines.pop()
        whole = [piece for line in lines for piece in self._pieces(line)]
        if len(self._partial) > self._longest:
            *pieces, self._partial = self._pieces(self._partial)
            whole += pieces
        self._write(whole)

    def flush(self) -> None:
        """Write the last line, though nothing ended it."""
        if self._partial:
            self._write([self._partial])
            self._partial = b""

    def close(self) -> None:
        """Nothing more comes for now."""
        self.flush()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _pieces(self, line: bytes) -> list[bytes]:
        if len(line) <= self._longest:
            return [line]
        return [line[start : start + self._longest] for start in range(0, len(line), self._longest)]

    def _write(self, lines: list[bytes]) -> None:
        if not lines:
            return
        stamp = b"%.3f " % time.time()
        if self._lost:
            lines = [f"envctl: {self._lost} bytes of output were lost: {self._why}".encode(), *lines]
        text = b"".join([stamp + line + b"\n" for line in lines])
        try:
            self._put(text)
            self._lost = 0
        except OSError as error:
            self._lost += len(text)
            self._why = error.strerror or "unknown error"

    def _put(self, text: bytes) -> None:
        if self._fd < 0:
            self._open()
        if self._size and self._size + len(text) > self._limit:
            self._rotate()
        rest = text
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            quietly(self._take_back, len(text) - len(rest))
            raise
        self._size += len(text)

    def _take_back(self, written: int) -> None:
        """No half line; somebody may have emptied the file meanwhile."""
        self._size = max(0, os.fstat(self._fd).st_size - written)
        os.ftruncate(self._fd, self._size)

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        self._fd = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        try:
            os.replace(self._path, f"{self._path}.1")
        except OSError:
            os.ftruncate(self._fd, 0)  # the limit holds all the same
            self._size = 0
            return
        os.close(self._fd)
        self._fd = -1
        self._open()
