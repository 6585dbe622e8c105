"""Writers of the registry queue here, because SQLite's own waiting lets some starve when a hundred come at once.

SQLite sleeps up to 100 ms between two tries; with many writers some never meet a free moment within its time limit.
This is only about waiting: SQLite's lock keeps the data safe, so where the queue cannot be used it is passed by.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from envctl.host import clock, files, paths

_PATIENCE_S = 30.0
_LONGEST_PAUSE_S = 0.01


@contextmanager
def writers_turn(state: Path) -> Iterator[None]:
    """Waits for this process's turn to write; after 30 s without one it goes on to SQLite's own lock."""
    fd = _open(state)
    try:
        if fd is not None:
            _wait(fd)
        yield
    finally:
        if fd is not None:
            os.close(fd)


def _open(state: Path) -> int | None:
    path = paths.locks_dir(state) / "registry-writers.lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:  # a read-only or full disk
        return None
    files.owner_only(fd)
    return fd


def _wait(fd: int) -> None:
    deadline_s = clock.monotonic_s() + _PATIENCE_S
    pause_s = 0.0005
    while clock.monotonic_s() < deadline_s:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            clock.sleep_s(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
        except OSError:  # a file system without locks
            return
        else:
            return
