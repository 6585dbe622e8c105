"""What a service said: its log, read from the end, or followed while it grows.

The keeper writes each line as `<seconds since 1970 with 3 decimals> <text>` into `log`. When that is too long, it
becomes `log.1`, in the place of the older one, and a new `log` begins. Bytes that are no text are replaced.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from envctl.engines.local import records
from envctl.host import clock, owner

NEWEST, OLDER = "log", "log.1"
_BLOCK_BYTES = 1 << 18
_SECONDS_AGO = re.compile(r"(\d+(?:\.\d+)?)s")
_TIME = re.compile(rb"\d{1,12}\.\d{3}")
# Between two looks at a log that had nothing new: short at first, longer the longer it is silent.
_SHORTEST_S, _LONGEST_S = 0.01, 0.2
# A keeper notes a death within milliseconds, unless the disk is full.
_NOTED_WITHIN_S = 2.0


def lines(folder: Path, *, follow: bool, tail_lines: int | None, since: str | None) -> Iterator[str]:
    """The lines, oldest first. One that is still being written is left out until it is whole.

    Args:
        folder: The service's folder.
        follow: Whether to go on as lines arrive, until the service has ended and everything was read.
        tail_lines: Begin with the last that many lines; None for all.
        since: Only what is newer: "300s" ago, or a moment in ISO 8601. As with `docker logs` it chooses among the last
            `tail_lines`.

    Raises:
        ValueError: `since` is neither.
    """
    oldest_s = _moment_s(since) if since else None
    log = _Log(folder)
    try:
        if tail_lines is not None:
            log.seek_last(tail_lines)
        for line in _newer(_followed(log) if follow else _present(log), oldest_s):
            yield line.decode(errors="replace")
    finally:
        log.close()


def _moment_s(since: str) -> float:
    if ago := _SECONDS_AGO.fullmatch(since):
        return clock.now().timestamp() - float(ago[1])
    return datetime.fromisoformat(since).timestamp()


def _newer(raw: Iterator[bytes], oldest_s: float | None) -> Iterator[bytes]:
    """The lines without their times; one without a time (of a keeper that was killed) is as old as the one before."""
    written_s = 0.0
    for line in raw:
        time, _, text = line.partition(b" ")
        if not _TIME.fullmatch(time):
            text = line
        elif oldest_s is not None:
            written_s = float(time)
        if oldest_s is None or written_s >= oldest_s:
            yield text


def _present(log: _Log) -> Iterator[bytes]:
    ended = log.has_ended()  # asked first: what is half written then may still become a whole line
    yield from log.new_lines()
    if ended:
        yield from log.rest()


def _followed(log: _Log) -> Iterator[bytes]:
    pause_s = _SHORTEST_S
    while True:
        ended = log.has_ended()  # asked first: then all that it said can be read
        for line in log.new_lines():
            pause_s = _SHORTEST_S
            yield line
        if ended:
            yield from log.rest()
            return
        clock.sleep_s(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_S)


class _Log:
    """The log of one service, read through all its files, whatever they are called meanwhile.

    Args:
        folder: The service's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = _open_all(folder)  # oldest first
        self._unfinished: list[bytes] = []  # parts of a line whose end has not been read
        self._dead_since_s: float | None = None  # when the service was first seen dead, its end not noted

    def close(self) -> None:
        """Let go of the files."""
        while self._files:
            self._files.pop().close()

    def has_ended(self) -> bool:
        """Whether nothing will be written any more: the service has ended and its keeper noted it, or is gone."""
        record = records.read(self._folder)
        if record.keeper is None or not owner.is_alive(record.keeper) or record.ended_at_s is not None:
            return True
        if record.process is not None and owner.is_alive(record.process):
            self._dead_since_s = None
            return False
        now_s = clock.monotonic_s()
        self._dead_since_s = self._dead_since_s or now_s
        return now_s - self._dead_since_s > _NOTED_WITHIN_S

    def seek_last(self, wanted: int) -> None:
        """Leave only the last `wanted` whole lines to read."""
        for file in reversed(self._files):
            wanted -= _seek_last(file, wanted)

    def new_lines(self) -> Iterator[bytes]:
        """The whole lines that have not been read yet."""
        for file in self._files[:1]:
            yield from self._lines(file)
        while len(self._files) > 1 or self._find_newer():
            if len(self._files) > 1:  # a file with a successor is finished, but may have grown after it was read
                finished = self._files[0]
                yield from self._lines(finished)
                yield from self.rest()
                self._files.remove(finished)
                finished.close()
            yield from self._lines(self._files[0])

    def rest(self) -> Iterator[bytes]:
        """A last line without its end, where nobody will finish it."""
        last, self._unfinished = b"".join(self._unfinished), []
        if last:
            yield last

    def _lines(self, file: BinaryIO) -> Iterator[bytes]:
        size = os.fstat(file.fileno()).st_size
        if file.tell() > size:  # on a full disk the keeper takes half a line back
            file.seek(size)
            self._unfinished = []
        while block := file.read(_BLOCK_BYTES):
            first, *others = block.split(b"\n")
            self._unfinished.append(first)
            if others:
                yield b"".join(self._unfinished)
                self._unfinished = [others.pop()]
                yield from others

    def _find_newer(self) -> bool:
        """Open the files that came after the one we have, where there are any."""
        try:
            newest = (self._folder / NEWEST).stat()
        except FileNotFoundError:
            return False
        if not self._files:
            self._files = _open_all(self._folder)
            return bool(self._files)
        mine = _identity(os.fstat(self._files[-1].fileno()))
        if mine == _identity(newest):
            return False
        for file in _open_all(self._folder):
            if _identity(os.fstat(file.fileno())) == mine:
                file.close()
            else:
                self._files.append(file)
        return len(self._files) > 1


def _open_all(folder: Path) -> list[BinaryIO]:
    """Both files, oldest first; those that are there."""
    newest, older = _open(folder / NEWEST), _open(folder / OLDER)
    if newest and older and os.path.sameopenfile(newest.fileno(), older.fileno()):  # renamed between the two
        newest.close()
        newest = _open(folder / NEWEST)
    return [file for file in (older, newest) if file]


def _open(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError:
        return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _seek_last(file: BinaryIO, wanted: int) -> int:
    """Move to the beginning of the last `wanted` whole lines, found from the end; how many there are."""
    end = file.seek(0, os.SEEK_END)
    needed = wanted + 1  # the end of the line before them too
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        file.seek(start)
        block = file.read(end - start)
        number = block.count(b"\n")
        if number >= needed:
            position = len(block)
            for _ in range(needed):
                position = block.rindex(b"\n", 0, position)
            file.seek(start + position + 1)
            return wanted
        needed, end = needed - number, start
    file.seek(0)
    return wanted + 1 - needed
