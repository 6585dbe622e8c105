"""What a watcher runs: the standard library alone, and little of it.

Arguments: FILE SECONDS PID TICKS pipe|process COMMAND…
"""

import contextlib
import fcntl
import os
import select
import signal
import sys
import time

_DEAD = "ZX"
_CHECK_S = 1.0  # of another process nobody tells us anything over the pipe


def main(file: str, beat_s: float, pid: int, ticks: int, own: bool, command: list[str]) -> None:  # noqa: FBT001 - called by its own program alone
    """Watch process `pid` until it is gone, or its session has ended in good order; if not so, become `command`."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they mean the one who is watched, and its end is what we wait for
    os.chdir("/")
    beat = _take(file)
    if beat is None:
        return
    told = _wait(beat, beat_s, pid, ticks, own)
    if b"done" in told.split(b"\n"):
        with contextlib.suppress(OSError):
            os.unlink(file)  # noqa: PTH108 - quicker than pathlib
    elif _children(told) or not _is_gone(beat):
        os.execv(command[0], [*command, *_children(told)])  # noqa: S606 - our own command


def _wait(beat: int, beat_s: float, pid: int, ticks: int, own: bool) -> bytes:  # noqa: FBT001 - called by its own program alone
    """Wait until the process or its session has ended; what was told meanwhile over the pipe."""
    told = b""
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    process = _open(pid, ticks)
    if process >= 0:
        poll.register(process, select.POLLIN)
    step_s, next_s = (beat_s if own else _CHECK_S), 0.0
    while _lives(pid, ticks) and (own or not _is_gone(beat)):
        if time.monotonic() >= next_s:
            _write(beat)
            next_s = time.monotonic() + beat_s
        if 0 in {fd for fd, _ in poll.poll(step_s * 1000)}:
            data = os.read(0, 4096)
            told += data
            if b"done" in told.split(b"\n") or (own and not data):
                break
            if not data:
                poll.unregister(0)  # who started us goes on with something else
    os.set_blocking(0, False)
    with contextlib.suppress(OSError):
        told += os.read(0, 4096)  # what was told last, by a process that has ended since
    return told


def _open(pid: int, ticks: int) -> int:
    """A descriptor that becomes readable when the process ends, or -1 where there is none to be had."""
    try:
        found = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1
    return found if _lives(pid, ticks) else -1


def _lives(pid: int, ticks: int) -> bool:
    """Whether the process of this id is there, and is the one that was started at that time."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123 - quicker than pathlib
            fields = stat.read().rpartition(b")")[2].split()
        return chr(fields[0][0]) not in _DEAD and (not ticks or int(fields[19]) == ticks)
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):  # noqa: PTH112 - quicker than pathlib
            return False
    except (OSError, ValueError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _take(file: str) -> "int | None":
    """The heartbeat's file, -1 where there can be none (a full disk), or None where another watcher has it."""
    try:
        beat = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError:
        return -1
    try:
        fcntl.flock(beat, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError:
        pass
    return beat


def _write(beat: int) -> None:
    """Write down that we are there."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    with contextlib.suppress(OSError):
        os.pwrite(beat, b"%d" % time.clock_gettime(clock), 0)


def _is_gone(beat: int) -> bool:
    """Whether the heartbeat's file is gone, as it is when the session has ended in good order."""
    return beat >= 0 and os.fstat(beat).st_nlink == 0


def _children(told: bytes) -> list[str]:
    """The programs whose groups must be ended too: pid and start time of each."""
    lines = [line.split() for line in told.split(b"\n") if line.startswith(b"child ")]
    return [word.decode() for line in lines for word in line[1:3]]


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "pipe", sys.argv[6:])
