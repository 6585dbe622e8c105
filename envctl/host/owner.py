"""Which process owns something, and whether it still lives. A process id alone proves nothing: ids are used again."""

from __future__ import annotations

import os
from typing import NamedTuple

from envctl.model import Owner

_INITIAL_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO in the kernel's include/linux/proc_ns.h


class _Process(NamedTuple):
    state: str
    parent: int
    start_ticks: int


def current() -> Owner:
    """This process."""
    process = _look_at("self")
    return Owner(_boot_id(), os.getpid(), process.start_ticks if process else 0)


def is_alive(owner: Owner) -> bool:
    """False only on proof of death; whatever cannot be known counts as alive.

    Proof is: the machine was started again since, no process has that id, the process of that id started at another
    time, or it is a zombie. A process in another PID namespace (a container that shares our state directory) cannot be
    seen from here, so it is never called dead.
    """
    boot, _, namespace = _boot_id().partition("/")
    its_boot, _, its_namespace = owner.boot_id.partition("/")
    if boot and its_boot and boot != its_boot:
        return False
    if its_boot and namespace != its_namespace:
        return True
    if owner.pid <= 0:
        return True
    process = _look_at(str(owner.pid))
    if process is None:
        return _answers(owner.pid)
    if process.state in "ZX":
        return False
    return not owner.start_ticks or process.start_ticks == owner.start_ticks


def describe(owner: Owner) -> str:
    """The command name of a live owner, or "" where it cannot be known; safe to print."""
    if not is_alive(owner):
        return ""
    return command_name(owner.pid)


def command_name(pid: int) -> str:
    """The command name of a process as the kernel has it, or ""; control characters are replaced."""
    raw = _read(f"/proc/{pid}/comm") or b""
    name = raw.decode(errors="replace").rstrip("\n")
    return "".join(c if c.isprintable() else "?" for c in name)


def is_stopped(owner: Owner) -> bool:
    """Whether the process was stopped by a signal or a debugger: it lives, but it will not go on by itself."""
    process = _look_at(str(owner.pid))
    return process is not None and process.state in "Tt"


def boot_id() -> str:
    """The kernel's boot id, another one after each start of the machine; "" where there is none."""
    return (_read("/proc/sys/kernel/random/boot_id") or b"").decode(errors="replace").strip()


def of(pid: int) -> Owner | None:
    """The process of this id, or None where none can be seen."""
    process = _look_at(str(pid)) if pid > 0 else None
    return Owner(_boot_id(), pid, process.start_ticks) if process else None


def is_ancestor(owner: Owner) -> bool:
    """Whether the process is this one, or one that this one descends from."""
    pid = os.getpid()
    while pid > 1:
        if pid == owner.pid:
            return is_alive(owner)
        process = _look_at(str(pid))
        pid = process.parent if process else 0
    return False


def is_foreign(owner: Owner) -> bool:
    """Whether it is a process of another PID namespace, whose life cannot be seen from here."""
    return owner.boot_id.partition("/")[2] != _boot_id().partition("/")[2]


def _boot_id() -> str:
    """The boot id; outside the initial PID namespace, where ids mean other processes, with that appended."""
    boot = boot_id()
    try:
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - on the fast path, as below
    except OSError:
        return boot
    return boot if namespace == _INITIAL_PID_NAMESPACE else f"{boot}/{namespace}"


def _look_at(pid: str) -> _Process | None:
    """State, parent and start time out of /proc/PID/stat, fields 3, 4 and 22 of proc(5), or None."""
    raw = _read(f"/proc/{pid}/stat")
    if not raw:
        return None
    try:
        fields = raw[raw.rindex(b")") + 2 :].split()  # the name before it may hold blanks and parentheses
        return _Process(fields[0].decode(), int(fields[1]), int(fields[19]))
    except (ValueError, IndexError):
        return None


def _answers(pid: int) -> bool:
    """Whether a process of this id exists; /proc may hide the processes of other users."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - on the fast path; a Path costs more than the read
            return file.read()
    except OSError:
        return None
