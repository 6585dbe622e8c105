"""SHA-256 of files' contents, each read once: what is known of a file is kept in the user's cache.

A file is known by its size, times and inode, as git does it. What was written less than two seconds before it was read
is not kept: it could be written once more within the same tick of the clock, and would look as before. The time of the
inode's last change cannot be set, so neither `touch` nor an archive brings back what an older content had.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

_KIND = "digests"
_SETTLED_NS = 2 * 10**9
_FEW = 1000

Known = tuple[int, int, int, int, str]
"""Size, time of the content, inode, time of the inode, and the content's digest."""


class Digests:
    """Those of the files below one folder."""

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        """Reads nothing yet.

        Args:
            root: The folder.
            environ: Says where the cache is; where none can be used, every file is read each time.
        """
        self._root, self._environ = os.fspath(root), environ
        self._known: dict[str, Known] = {}
        self._used: set[str] = set()
        self._was_recalled = self._has_new = False

    def of(self, name: str) -> str:
        """SHA-256 (hex) of the content of a file, which may be changing meanwhile.

        Args:
            name: Its path, relative to the folder; a link counts as what it leads to.

        Raises:
            OSError: It cannot be read, or is no regular file.
        """
        path = f"{self._root}/{name}"  # there may be thousands, and a Path takes longer
        mark = _mark(os.stat(path))  # noqa: PTH116 - quicker than pathlib
        if not self._was_recalled:
            self._known, self._was_recalled = self._recalled(), True
        self._used.add(name)
        known = self._known.get(name)
        return known[4] if known and known[:4] == mark else self._read(path, name)

    def keep(self) -> None:
        """Write down what is new, for the next time. Never raises: a cache that cannot be used costs time only."""
        if not self._has_new:
            return
        import json

        from envctl.host import cache

        known = self._known
        if len(known) > 2 * len(self._used) + _FEW:  # most of it is of files that are gone
            known = {name: mark for name, mark in known.items() if name in self._used}
        cache.remember(cache.root(self._environ), _KIND, self._key(), json.dumps(known, separators=(",", ":")))
        self._has_new = False

    def _read(self, path: str, name: str) -> str:
        import hashlib

        from envctl.host import clock

        began_ns = int(clock.now().timestamp() * 1e9)
        # A pipe that has just taken the file's place is not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor, not a path
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise OSError(0, "not a regular file", path)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            mark, after = _mark(before), _mark(os.fstat(descriptor))
        if mark == after and max(before.st_mtime_ns, before.st_ctime_ns) + _SETTLED_NS <= began_ns:
            self._known[name] = (*mark, digest)
            self._has_new = True
        return digest

    def _recalled(self) -> dict[str, Known]:
        """What is in the cache; nothing of it is believed that has not the right form."""
        import json

        from envctl.host import cache

        try:
            found = json.loads(cache.recall(cache.root(self._environ), _KIND, self._key()) or "{}")
            return {str(name): _checked(*mark) for name, mark in found.items()}
        except (ValueError, TypeError, AttributeError, RecursionError):
            return {}

    def _key(self) -> str:
        import hashlib

        return hashlib.sha256(os.fsencode(self._root)).hexdigest()[:32]


def _mark(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns


def _checked(size: int, mtime_ns: int, inode: int, ctime_ns: int, digest: str) -> Known:
    return int(size), int(mtime_ns), int(inode), int(ctime_ns), str(digest)
