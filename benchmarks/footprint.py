"""Memory and processor time of processes and their descendants, read from /proc."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

_EVERY_S = 0.002
_PROC = Path("/proc")
_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


def peak_mib(process: subprocess.Popen[str]) -> float:
    """Watch until it ends; the largest sum seen, MiB.

    Not `ru_maxrss`: that starts at the size of the process that forked, and knows only the largest of the descendants.
    """
    most_kib = 0
    while process.poll() is None:
        most_kib = max(most_kib, sum(_pss_kib(pid) for pid in tree(process.pid)))
        time.sleep(_EVERY_S)
    return most_kib / 1024


def pss_mib(pid: int) -> float:
    """A process' memory now, pages that it shares divided among their users, MiB; 0 where it is gone."""
    return _pss_kib(pid) / 1024


def cpu_ms(pid: int) -> float:
    """Processor time a process has used so far, milliseconds, in steps of a clock tick; 0 where it is gone."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * _TICK_MS  # utime and stime, proc(5)


def tree(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    try:
        tasks = list((_PROC / str(pid) / "task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it ended meanwhile
        return
    for child in children:
        yield from tree(child)


def lives(pid: int) -> bool:
    """Whether there is such a process, and not only its exit code for its parent to collect."""
    try:
        return bool((_PROC / str(pid) / "cmdline").read_bytes())
    except OSError:
        return False


def mentioning(text: str) -> Iterator[int]:
    """Processes with this text among their arguments or variables, but for ourselves."""
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid() and text.encode() in _known_of(entry):
            yield int(entry.name)


def _known_of(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
    except OSError:  # it ended, or is another user's
        return b""


def _pss_kib(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
