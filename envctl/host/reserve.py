"""A little space put aside, so that removing an environment works on a full disk.

The registry needs room for its journal even to delete a row.
"""

from __future__ import annotations

import os
from pathlib import Path

from envctl.host.files import cannot_write

SIZE_BYTES = 256 * 1024


def ensure(state: Path) -> None:
    """Puts the space aside before anything is created; raises CannotWrite where there is not even that much."""
    path = _path(state)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size != SIZE_BYTES:
                os.fchmod(fd, 0o600)
                os.posix_fallocate(fd, 0, SIZE_BYTES)
        finally:
            os.close(fd)
    except OSError as error:
        raise cannot_write(path, error, needed_bytes=SIZE_BYTES) from error


def release(state: Path) -> bool:
    """Gives the space back; whether there was any."""
    try:
        _path(state).unlink()
    except OSError:
        return False
    return True


def _path(state: Path) -> Path:
    return state / "reserve"
