"""Packing a folder into one file, from which `copy` makes copies.

Large files pass through in pieces, so that gigabytes need no memory; what is zero in them becomes a hole.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any, BinaryIO, NamedTuple

from envctl.host.copy import BLOCK, HEADER, LARGE, MAGIC, not_holes

_WORTH_A_HOLE = 64 * 1024
_ZEROS = bytes(LARGE)
_SHORTER = "a file became shorter while it was read"
_NUMBERS = 3 * len(f", {1 << 64}")  # of an entry of the index
_UNABLE = {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM}


class _Content(NamedTuple):
    """What is worth storing of a file.

    Attributes:
        length: All that follows is zero.
        digest: Equal for equal contents.
        pieces: Offset and length of those pieces that are not all zero.
    """

    length: int
    digest: bytes
    pieces: Sequence[tuple[int, int]]


def pack(folder: str, target: BinaryIO, meta: dict[str, Any], leave_out: Callable[[str], bool]) -> None:
    """Write the folder's files into `target`, which is empty.

    Args:
        folder: The folder; it holds only folders and plain files, else ValueError. Nobody writes to it.
        target: Where to.
        meta: Anything JSON takes; `open_packed` gives it back.
        leave_out: Says of a file's relative path whether it is not wanted.

    Raises:
        OSError: It cannot be read or written.
        ValueError: It holds something else: a symbolic link could lead anywhere.
    """
    folders, names = _listing(folder)
    wanted = [name for name in names if not leave_out(name)]
    known = {"folders": folders, "files": wanted, "meta": meta}
    # The index comes first, and its numbers are known last.
    room = len(json.dumps(known)) + len(wanted) * (len("[]") + _NUMBERS)
    start = HEADER.size + room
    start += -start % BLOCK
    files, end = _store(folder, wanted, target.fileno(), start)
    described = json.dumps(known | {"files": files}).encode().ljust(room)
    os.ftruncate(target.fileno(), end)
    os.pwrite(target.fileno(), HEADER.pack(MAGIC, room, sha256(described).digest()) + described, 0)


def _listing(folder: str) -> tuple[list[str], list[str]]:
    folders: list[str] = []
    names: list[str] = []
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(f"{folder}/{below}") as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                name = f"{below}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                    waiting.append(name + "/")
                elif entry.is_file(follow_symlinks=False):
                    names.append(name)
                else:
                    raise ValueError(f"{name} is neither a folder nor a plain file")
    return folders, names


def _store(folder: str, names: Sequence[str], target: int, start: int) -> tuple[list[list[str | int]], int]:
    """Write the contents from `start` on, equal ones once; the index of the files, and where the contents end."""
    contents: dict[bytes, int] = {}  # digest → offset from the start
    index: list[list[str | int]] = []
    end = start
    for name in names:
        fd = _opened(f"{folder}/{name}")
        try:
            size = os.fstat(fd).st_size
            content = _content(fd, size)
            if content.digest not in contents:
                contents[content.digest] = end - start
                for at, length in content.pieces:
                    _send(fd, at, target, end + at, length)
                end += content.length + -content.length % BLOCK
        finally:
            os.close(fd)
        index.append([name, size, contents[content.digest], content.length])
    return index, end


def _opened(path: str) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ValueError(f"{path} is not a plain file")
    return fd


# -- contents ----------------------------------------------------------------------------------------------------------


def _content(fd: int, size: int) -> _Content:
    length = _length(fd, size)
    digest, pieces = sha256(b"%d" % length), []
    for at, piece in _read(fd, length):
        digest.update(b" %d %d:" % (at, len(piece)))
        digest.update(piece)
        pieces.append((at, len(piece)))
    return _Content(length, digest.digest(), pieces)


def _length(fd: int, size: int) -> int:
    """The file's length without a long run of zeros at its end, in whole blocks."""
    if size < _WORTH_A_HOLE:
        return size
    used, end = 0, max((stop for _, stop in not_holes(fd, 0, size)), default=0) if size > LARGE else size
    while end and not used:
        start = max(0, end - LARGE)
        used = len(os.pread(fd, end - start, start).rstrip(b"\0"))
        end, used = start, used and start + used
    used += -used % BLOCK
    return used if size - used >= _WORTH_A_HOLE else size


def _read(fd: int, length: int) -> Iterator[tuple[int, bytes]]:
    """Offset and content of the pieces that are not all zero, without reading holes."""
    at = 0
    while at < length:
        if length > LARGE and (at := _after_hole(fd, at, length)) >= length:
            return
        piece = os.pread(fd, min(LARGE, length - at), at)
        if len(piece) != min(LARGE, length - at):
            raise ValueError(_SHORTER)
        if piece != _ZEROS[: len(piece)]:
            yield at, piece
        at += len(piece)


def _after_hole(fd: int, at: int, length: int) -> int:
    """Where the first piece from `at` on that is not all hole begins; `length` where there is none."""
    first = next(not_holes(fd, at, length), (length, length))[0]
    return first - first % LARGE if first < length else length


def _send(source: int, at: int, target: int, to: int, length: int) -> None:
    """Copy a piece within the kernel, where file systems can share blocks without copying any; else by ourselves."""
    while length:
        try:
            sent = os.copy_file_range(source, target, length, at, to)
        except OSError as error:
            if error.errno not in _UNABLE:
                raise
            sent = os.pwrite(target, os.pread(source, length, at), to)
        if not sent:
            raise ValueError(_SHORTER)
        at, to, length = at + sent, to + sent, length - sent
