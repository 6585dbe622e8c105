"""Ending a whole process group of which only the leader is known for certain."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress

from envctl.host import clock, owner, stragglers

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
    until_s = clock.monotonic_s() + grace_s
    if not _leads(pid):  # it has gone to another group
        _signal(os.kill, pid, signal.SIGTERM)
        while owner.is_alive(found) and clock.monotonic_s() < until_s:
            clock.sleep_s(_LOOK_AGAIN_S)
        if owner.is_alive(found):
            _signal(os.kill, pid, signal.SIGKILL)
        return True
    for number in (signal.SIGTERM, signal.SIGCONT):  # who is stopped notices nothing else
        _signal(os.killpg, pid, number)
    # While a member is left the group's number can be nobody else's, also when the leader has ended.
    if stragglers.wait_for_end(pid, until_s):
        _signal(os.killpg, pid, signal.SIGKILL)
    return True


def end_all(leaders: Sequence[tuple[int, int]], grace_s: float) -> None:
    """As `end`, for several groups at once.

    Args:
        leaders: Each one's pid and start time.
        grace_s: Time to end in good order, seconds.
    """
    from threading import Thread  # mostly there is but one

    enders = [Thread(target=end, args=(*leader, grace_s)) for leader in leaders[1:]]
    for ender in enders:
        ender.start()
    if leaders:
        end(*leaders[0], grace_s)
    for ender in enders:
        ender.join()


def _leads(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def _signal(send: Callable[[int, int], None], pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        send(pid, number)
