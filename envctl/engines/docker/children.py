"""Programs a library has started for us, which it leaves running when it is interrupted."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from envctl.host import clock

# Words to put before a program and its arguments: the kernel then ends it when we end, also by `kill -9`. For libraries
# that start programs and take no `preexec_fn`.
_PROGRAM = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execv(sys.argv[1], sys.argv[1:])"
ENDS_WITH_US = (sys.executable, "-I", "-c", _PROGRAM) if sys.platform == "linux" else ()

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


def _children(of: str = "self") -> set[int]:
    found: set[int] = set()
    for listing in Path(f"/proc/{of}/task").glob("*/children"):
        with suppress(OSError):  # a thread that ended just now
            found.update(map(int, listing.read_text().split()))
    return found


def _end(pid: int) -> None:
    """End a child with its own children: `docker` waits for its plugin, which it may be starting just now.

    A child that nobody has waited for keeps its number, so no stranger can be meant.
    """
    told: set[int] = set()
    deadline_s = clock.monotonic_s() + _LIMIT_S
    with suppress(ChildProcessError):
        while not os.waitpid(pid, os.WNOHANG)[0]:
            family = {pid, *_children(str(pid))}
            late = clock.monotonic_s() > deadline_s
            _signal(family if late else family - told, signal.SIGKILL if late else signal.SIGTERM)
            told |= family
            clock.sleep_s(_PAUSE_S)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
