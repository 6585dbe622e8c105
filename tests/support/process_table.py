"""Processes, listening sockets and shared memory of this machine, and which of them are one test project's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

COOKIE = "ENVCTL_PROCESS"
_LISTENING = "0A"
# A Postgres server's own, which it would leave when killed; what is larger is another program's.
_LARGEST_MEMORY = 4096


class Process(NamedTuple):
    """A process that has not ended, as /proc shows it."""

    pid: int
    parent: int
    start_ticks: int
    command: str


class Segment(NamedTuple):
    """Shared memory of System V."""

    id: int
    size: int
    creator: int
    made_s: int


def processes() -> dict[int, Process]:
    """Every process that has not ended, by id."""
    found = (look_at(pid) for pid in _pids())
    return {process.pid: process for process in found if process}


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def waits(pid: int) -> bool:
    """Whether a process waits for something just now. A shell does not see a signal that comes just before it does."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat[stat.rindex(b")") + 2 :].startswith(b"S")


def look_at(pid: int) -> Process | None:
    """One process; None where there is none of that id, or only its exit code."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    words = command.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    return Process(pid, int(fields[1]), int(fields[19]), words)


def belonging(mark: str, folder: Path, stack_ids: set[str]) -> dict[int, Process]:
    """The processes of a project, but not ourselves.

    Those whose variables hold its mark or the cookie of one of its stacks, whose arguments or working folder lie below
    its folder, and the descendants of all these. A server may overwrite what the kernel shows of its variables.

    Args:
        mark: A variable and its value, `NAME=VALUE`.
        folder: Folder of all its files.
        stack_ids: Ids of its stacks.
    """
    everyone = processes()
    everyone.pop(os.getpid(), None)
    cookies = tuple(f"{COOKIE}={stack_id}-".encode() for stack_id in stack_ids)
    found = {
        pid: process
        for pid, process in everyone.items()
        if str(folder) in process.command or _is_below(pid, folder) or _carries(pid, mark.encode(), cookies)
    }
    size = -1
    while len(found) > size:
        size = len(found)
        found |= {pid: process for pid, process in everyone.items() if process.parent in found}
    return found


def _is_below(pid: int, folder: Path) -> bool:
    with suppress(OSError):
        return folder in Path(f"/proc/{pid}/cwd").readlink().parents
    return False


def _carries(pid: int, mark: bytes, cookies: tuple[bytes, ...]) -> bool:
    with suppress(OSError):  # it ends just now, or is another user's
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return mark in variables or any(variable.startswith(cookies) for variable in variables if cookies)
    return False


def listening() -> Iterator[tuple[int, str]]:
    """Port and socket of everything that listens."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == _LISTENING:
                    yield int(columns[1].rsplit(":", 1)[1], 16), columns[9]


def holders(inodes: set[str]) -> dict[str, int]:
    """Socket → the process that holds it; processes of other users cannot be looked into."""
    found: dict[str, int] = {}
    for pid in _pids():
        with suppress(OSError):
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    inode = str(fd.readlink()).removeprefix("socket:[").removesuffix("]")
                    if inode in inodes:
                        found[inode] = pid
    return found


def segments() -> Iterator[Segment]:
    """Every piece of shared memory (proc(5), sysvipc/shm)."""
    with suppress(OSError):
        for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
            fields = line.split()
            yield Segment(int(fields[1]), int(fields[3]), int(fields[4]), int(fields[13]))


def _booted_s() -> int:
    """When this machine was started, Unix time."""
    (line,) = [line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime ")]
    return int(line.split()[1])


def memory_of(ids: set[int], creators: Mapping[int, int]) -> list[Segment]:
    """The shared memory a project's servers made: of a known id, or made by a process that was one of them.

    Args:
        ids: Those the servers wrote down.
        creators: Processes of the project, by id, with their start time: the id may be somebody else's by now.
    """

    def made_here(segment: Segment) -> bool:
        if segment.creator not in creators or segment.size > _LARGEST_MEMORY:
            return False
        started_s = _booted_s() + creators[segment.creator] / os.sysconf("SC_CLK_TCK")
        if segment.made_s < int(started_s) - 1:  # by a process that had this id before
            return False
        now = look_at(segment.creator)
        return now is None or now.start_ticks == creators[segment.creator]

    return [segment for segment in segments() if segment.id in ids or made_here(segment)]


def remove_memory(segment: Segment) -> None:
    """Remove it."""
    import ctypes

    ctypes.CDLL(None).shmctl(segment.id, 0, None)
