"""A hold on one process, so that a signal reaches that one or none: ids are used again.

The hold is a descriptor that was opened before the start time was compared: a pidfd, or where the kernel has none
(before Linux 5.3, and in sandboxes that imitate Linux) the process's folder in /proc, which goes dead with the process.
In that case the id is signalled right after a look through the folder has shown that the process still lives.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Collection
from contextlib import suppress
from functools import cache

from envctl.engines.local import census
from envctl.engines.local.census import Process
from envctl.host import clock

_PROCESS_GROUP = 1 << 2  # PIDFD_SIGNAL_PROCESS_GROUP of the kernel's include/uapi/linux/pidfd.h, since Linux 6.9
_LOOK_AGAIN_S = 0.002


def take(process: Process) -> int | None:
    """A hold on exactly this process, or None where it is gone. To be closed with `os.close`."""
    try:
        fd = os.pidfd_open(process.pid) if _has_pidfd() else _folder(process.pid)
    except OSError:  # it is gone, or a thread
        return None
    now = census.look_at(process.pid)
    if now is None or now.start_ticks != process.start_ticks:
        os.close(fd)
        return None
    return fd


def send(fd: int, process: Process, number: int) -> None:
    """Signal a process that is held.

    Raises:
        ProcessLookupError: It has ended.
        OSError: It may not be signalled.
    """
    if _has_pidfd():
        signal.pidfd_send_signal(fd, number)
    elif _has_ended(fd):
        raise ProcessLookupError
    else:
        os.kill(process.pid, number)


def kill_group(fd: int) -> None:
    """Kill the group that a held process leads, or led, all at one moment, so that none can fork away meanwhile.

    Only newer kernels can; else nothing is done.
    """
    if _has_pidfd():
        with suppress(OSError):
            signal.pidfd_send_signal(fd, signal.SIGKILL, None, _PROCESS_GROUP)


def wait(held: Collection[int], limit_s: float) -> list[int]:
    """Those of the held processes that have ended, as soon as there are any; none when the time is up, seconds."""
    if _has_pidfd():
        poll = select.poll()
        for fd in held:
            poll.register(fd, select.POLLIN)
        return [fd for fd, _ in poll.poll(max(0.0, limit_s) * 1000)]
    until_s = clock.monotonic_s() + limit_s
    while not (ended := [fd for fd in held if _has_ended(fd)]) and clock.monotonic_s() < until_s:
        clock.sleep_s(_LOOK_AGAIN_S)
    return ended


@cache
def _has_pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (OSError, AttributeError):
        return False
    return True


def _folder(pid: int) -> int:
    return os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _has_ended(folder: int) -> bool:
    try:
        fd = os.open("stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return True
    try:
        raw = os.read(fd, 1024)
    except OSError:
        return True
    finally:
        os.close(fd)
    return raw[raw.rindex(b")") + 2 :][:1] in {b"Z", b"X"}
