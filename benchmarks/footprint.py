"""Peak memory of a process and its descendants, read from /proc."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

_EVERY_S = 0.002
_PROC = Path("/proc")


def peak_mib(process: subprocess.Popen[str]) -> float:
    """Watch until it ends; the largest sum seen, MiB.

    Not `ru_maxrss`: that starts at the size of the process that forked, and knows only the largest of the descendants.
    """
    most_kib = 0
    while process.poll() is None:
        most_kib = max(most_kib, sum(_pss_kib(pid) for pid in _tree(process.pid)))
        time.sleep(_EVERY_S)
    return most_kib / 1024


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        tasks = list((_PROC / str(pid) / "task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it ended meanwhile
        return
    for child in children:
        yield from _tree(child)


def _pss_kib(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
