"""Ending a whole process group of which only the leader is known for certain."""

from __future__ import annotations

import os
import signal

from envctl.host import clock, owner
from envctl.model import Owner

_LOOK_AGAIN_S = 0.02


def end(pid: int, start_ticks: int, grace_s: float) -> bool:
    """Have the process and its group end, after `grace_s` seconds by force; whether it was there.

    A leader that is gone leaves its number to others, so only the group of one that is still the same is signalled.

    Args:
        pid: Leader of the group.
        start_ticks: When it was started, in clock ticks since boot.
        grace_s: Time to end in good order, seconds.
    """
    found = owner.of(pid)
    if found is None or found.start_ticks != start_ticks or not owner.is_alive(found):
        return False
    _signal(found, signal.SIGTERM)
    until_s = clock.monotonic_s() + grace_s
    while owner.is_alive(found) and clock.monotonic_s() < until_s:
        clock.sleep_s(_LOOK_AGAIN_S)
    _signal(found, signal.SIGKILL)
    return True


def _signal(leader: Owner, number: int) -> None:
    try:
        if os.getpgid(leader.pid) == leader.pid:
            os.killpg(leader.pid, number)
        else:
            os.kill(leader.pid, number)
    except (ProcessLookupError, PermissionError):
        return
