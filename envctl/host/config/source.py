"""Finding a configuration file and reading files without trusting them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

FILE_NAMES = ("envctl.yaml", "envctl.yml")
MAX_BYTES = 1024**2

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class Unreadable(Exception):
    """A file that cannot or must not be read; the text says why, as in "is a named pipe".

    Attributes:
        absent: Whether there is no such file.
        line: Where the content is wrong, or None where there is no content to speak of.
    """

    def __init__(self, reason: str, *, absent: bool = False, line: int | None = None) -> None:
        super().__init__(reason)
        self.absent = absent
        self.line = line


def repository_root(start: Path) -> Path:
    """The nearest folder from `start` upward that holds `.git` (a folder, or a file in a worktree), else `start`."""
    for folder in (start, *start.parents):
        if os.path.lexists(folder / ".git"):
            return folder
    return start


def find(start: Path, root: Path) -> Path | None:
    """The nearest `envctl.yaml` (or `envctl.yml`) from `start` upward to `root`, or None. Both are absolute."""
    for folder in (start, *start.parents):
        for name in FILE_NAMES:
            if os.path.lexists(folder / name):
                return folder / name
        if folder == root:
            break
    return None


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """The UTF-8 text of a regular file; a byte order mark is dropped.

    Raises:
        Unreadable: Not a regular file, larger than `limit` bytes, not UTF-8, or the system refuses.
    """
    try:
        return _read_bytes(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 text: byte {error.start + 1} is {error.object[error.start]:#04x}"
        raise Unreadable(reason, line=error.object.count(b"\n", 0, error.start) + 1) from error


def _read_bytes(path: Path, limit: int) -> bytes:
    """Looks before it opens (opening a device can do something), and again after, in case it was exchanged."""
    try:
        _refuse_special(path.stat().st_mode)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            _refuse_special(os.fstat(descriptor).st_mode)
            content = file.read(limit + 1)
    except FileNotFoundError as error:
        raise Unreadable("does not exist", absent=True) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a valid path"
        raise Unreadable(f"cannot be read: {reason}") from error
    if len(content) > limit:
        raise Unreadable(f"is larger than {limit // 1024} KiB", line=1)
    return content


def _refuse_special(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise Unreadable(f"is {_KINDS.get(stat.S_IFMT(mode), 'not a regular file')}, not a file")
