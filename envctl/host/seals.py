"""What says that files are whole: a seal of each, and the marks of prepared snapshots.

A snapshot without a mark, with a damaged one, or with files that differ, is none.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from envctl.host import files

NAME = "meta.json"
_FORMAT = 1
_LONGEST = 4 * 1024**2


def write(folder: Path, known: Mapping[str, Any], sealed: Mapping[str, Any]) -> None:
    """Mark a snapshot as whole.

    Args:
        folder: Its folder; the last part of the path is its key.
        known: What is known of it, as JSON takes it.
        sealed: File name → what `seal` said of it.

    Raises:
        CannotWrite: It cannot be written.
    """
    meta = {"format": _FORMAT, "key": folder.name, **known, "files": sealed}
    files.write_atomic(folder / NAME, json.dumps(meta, ensure_ascii=False, indent=1))


def read(folder: Path) -> dict[str, Any] | None:
    """The folder's mark; None where there is none, or one that is damaged."""
    try:
        fd = os.open(folder / NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return None
            meta = json.loads(file.read(_LONGEST))
            used_s = os.fstat(fd).st_mtime
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(meta, dict) or meta.get("format") != _FORMAT or meta.get("key") != folder.name:
        return None
    meta["used_s"] = used_s
    return meta if _has_shape(meta) else None


def _has_shape(meta: dict[str, Any]) -> bool:
    """Whether it is what was written; a few bytes of damage can leave valid JSON."""
    texts = [meta.get(key) for key in ("engine", "where", "project", "branch", "cause")]
    numbers = [meta.get(key) for key in ("created_s", "size_bytes")]
    tables = [meta.get(key) for key in ("inputs", "sources")]
    if not all(isinstance(table, dict) for table in (*tables, meta.get("files"))):
        return False
    texts += [value for table in tables if table for value in table.values()]
    seals = meta["files"]
    whole = all(isinstance(text, str) for text in texts) and all(isinstance(one, int | float) for one in numbers)
    # A name with a slash would lead out of the folder.
    return whole and all("/" not in name and isinstance(seal, dict) for name, seal in seals.items())


def seal(path: Path) -> dict[str, Any]:
    """What the file is, once all of it is on the disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return of(fd)
    finally:
        os.close(fd)


def is_whole(path: Path, seal: Mapping[str, Any]) -> bool:
    """Whether the file is what was sealed."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return fits(fd, seal)
    finally:
        os.close(fd)


def of(fd: int) -> dict[str, Any]:
    """The seal of an open file, once all of it is on the disk. Raises OSError."""
    os.fsync(fd)
    found = os.fstat(fd)
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": _digest(fd)}


def fits(fd: int, seal: Mapping[str, Any]) -> bool:
    """Whether an open file is what was sealed; its bytes are read only where its time differs: a restored cache."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or seal.get("size") != found.st_size:
        return False
    if seal.get("mtime_ns") == found.st_mtime_ns:
        return True
    if seal.get("sha256") != _digest(fd):
        return False
    with suppress(OSError, TypeError):  # a cache that can only be read; a time that is none
        os.utime(fd, ns=(found.st_atime_ns, seal["mtime_ns"]))
    return True


def _digest(fd: int) -> str:
    digest, offset = sha256(), 0
    while block := os.pread(fd, 1 << 20, offset):
        digest.update(block)
        offset += len(block)
    return digest.hexdigest()
