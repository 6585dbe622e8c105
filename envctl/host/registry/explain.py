"""What an error of SQLite means to people."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

from envctl.errors import Busy, StateDamaged
from envctl.host import files
from envctl.host.registry.file import BUSY_TIMEOUT_S, DAMAGE, result_code

_LEAST_FREE_BYTES = 64 * 1024  # with less, an I/O error is a full disk that SQLite met at an unusual place


def explained(error: sqlite3.Error, path: Path) -> Exception:
    """The error of ours that stands for an error of SQLite about this file; itself where it is a bug of envctl."""
    code = result_code(error)
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Busy(
            f"the registry {path} is locked by other processes",
            cause=f"it was not released within {BUSY_TIMEOUT_S:g} s",
            fix=["try again"],
            state="unchanged",
        )
    if code in DAMAGE:
        return StateDamaged(f"the registry {path} is damaged", cause=str(error), fix=[f"move {path} away"])
    if number := _errno(code, path):
        return files.cannot_write(path, OSError(number, os.strerror(number)))
    if code == sqlite3.SQLITE_IOERR:
        return StateDamaged(
            f"the disk failed while the registry {path} was used",
            cause=str(error),
            fix=["check the disk, or set ENVCTL_STATE_DIR to a directory on another"],
        )
    return error


def _errno(code: int, path: Path) -> int | None:
    """The operating system's reason behind a result code, which SQLite does not hand out."""
    free = files.free_bytes(path)
    full = free is not None and free < _LEAST_FREE_BYTES
    if code == sqlite3.SQLITE_FULL or (full and code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}):
        return errno.ENOSPC
    if code not in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
        return None
    try:
        read_only = os.statvfs(path.parent).f_flag & os.ST_RDONLY
    except OSError:
        return errno.EACCES
    return errno.EROFS if read_only else errno.EACCES
