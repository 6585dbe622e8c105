"""Which processes of a process group still run."""

from __future__ import annotations

import os
from typing import NamedTuple

from envctl.host import clock, owner

_FIRST_LOOK_S, _LAST_LOOK_S = 0.002, 0.05  # a look at every process of the machine takes milliseconds


class Straggler(NamedTuple):
    """A process that was left behind.

    Attributes:
        pid: Its id.
        name: Its command name, safe to print; "" where it cannot be known.
    """

    pid: int
    name: str


def exists(group: int) -> bool:
    """Whether the group has members, be they only exit codes that nobody has read."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def running(group: int) -> list[Straggler]:
    """The members of the group that have not ended, as far as /proc shows them."""
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - quicker
    except OSError:
        return []
    found = sorted(int(name) for name in names if name.isdecimal() and _runs_in(name, group))
    return [Straggler(pid, owner.command_name(pid)) for pid in found]


def wait_for_end(group: int, until_s: float) -> list[Straggler]:
    """Wait until no member of the group runs; those that still run when the clock (`monotonic_s`) says `until_s`."""
    pause_s = _FIRST_LOOK_S
    while exists(group) and (left := running(group)):
        now_s = clock.monotonic_s()
        if now_s >= until_s:
            return left
        clock.sleep_s(min(pause_s, until_s - now_s))
        pause_s = min(pause_s * 2, _LAST_LOOK_S)
    return []


def _runs_in(pid: str, group: int) -> bool:
    """Whether a process is in the group and not a zombie: fields 3 and 5 of /proc/PID/stat, see proc(5)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - a Path costs more than the read
            state, _, its_group, *_ = file.read().rpartition(b")")[2].split(None, 3)
    except (OSError, ValueError):
        return False
    return state not in b"ZX" and int(its_group) == group
