"""What a watcher runs: the standard library alone, and little of it.

Arguments: FILE SECONDS PID TICKS pipe|process COMMAND…
"""

import contextlib
import os
import select
import signal
import sys
import time

_DEAD = "ZX"
_CHECK_S = 1.0  # where the kernel cannot tell of another process's end


def main(file: str, beat_s: float, pid: int, ticks: int, own: bool, command: list[str]) -> None:  # noqa: FBT001
    """Watch process `pid` until it is gone, or says over the pipe that all is done; then become `command`."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they mean the one who is watched, and its end is what we wait for
    os.chdir("/")
    _beat(file, first=True)
    told = b""
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    process = _open(pid, ticks)
    if process >= 0:
        poll.register(process, select.POLLIN)
    step_s = beat_s if own or process >= 0 else _CHECK_S
    while _lives(pid, ticks):
        ready = {fd for fd, _ in poll.poll(step_s * 1000)}
        if 0 in ready:
            data = os.read(0, 4096)
            told += data
            if b"done" in told.split(b"\n"):
                _forget(file)
                return
            if not data and own:
                break
            if not data:
                poll.unregister(0)  # who started us goes on with something else
        if not ready and not _beat(file):
            return  # the session has ended in good order
    os.execv(command[0], [*command, *_child(told)])  # noqa: S606 - our own command


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
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123
            fields = stat.read().rpartition(b")")[2].split()
        return chr(fields[0][0]) not in _DEAD and (not ticks or int(fields[19]) == ticks)
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):  # noqa: PTH112
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


def _beat(file: str, *, first: bool = False) -> bool:
    """Write down that we are there; whether the file was still there, which goes with the session."""
    flags = os.O_WRONLY | os.O_TRUNC | (os.O_CREAT if first else 0)
    try:
        fd = os.open(file, flags, 0o600)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    with contextlib.suppress(OSError):
        os.write(fd, b"%d" % time.clock_gettime(clock))
    os.close(fd)
    return True


def _forget(file: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(file)  # noqa: PTH108


def _child(told: bytes) -> list[str]:
    """The program whose group must be ended too, as it was told last."""
    lines = [line.split() for line in told.split(b"\n") if line.startswith(b"child ")]
    return [word.decode() for word in lines[-1][1:3]] if lines else []


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "pipe", sys.argv[6:])
