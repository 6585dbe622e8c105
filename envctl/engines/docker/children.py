"""Programs a library has started for us, which it leaves running when it is interrupted."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from envctl.host import clock

_LIMIT_S = 5.0
_PAUSE_S = 0.02


@contextmanager
def ended_on_error() -> Iterator[None]:
    """End the programs that were started within the block when it is left by an exception, and wait for them.

    Works where the kernel lists a process's children (Linux); elsewhere it does nothing.
    """
    before = _children()
    try:
        yield
    except BaseException:
        for pid in _children() - before:
            _end(pid)
        raise


def _children() -> set[int]:
    found: set[int] = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # a thread that ended just now
            found.update(map(int, listing.read_text().split()))
    return found


def _end(pid: int) -> None:
    """A child that nobody has waited for keeps its number, so no stranger can be meant."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGTERM)
        deadline_s = clock.monotonic_s() + _LIMIT_S
        while clock.monotonic_s() < deadline_s:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
            clock.sleep_s(_PAUSE_S)
        os.kill(pid, signal.SIGKILL)
