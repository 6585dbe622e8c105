"""All processes of this machine as /proc shows them, and which of them belong to a service."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from envctl.engines.local.records import ProcessRecord

COOKIE = "ENVCTL_PROCESS"
"""Name of the variable that every process of a service has in its environment."""

_ENDED = frozenset("ZX")
_MARKER = f"\0{COOKIE}=".encode()
_MOST_VARIABLES_BYTES = 1 << 20


class Process(NamedTuple):
    """One process, out of /proc/PID/stat (see proc(5)).

    Attributes:
        pid: Its id; with `start_ticks` it means one process only.
        state: "R", "S", … "Z" for one that has ended and was not waited for.
        parent: Its parent's id.
        session: Its session: the id of the process that made it.
        start_ticks: When it was started, in ticks since the machine was.
    """

    pid: int
    state: str
    parent: int
    session: int
    start_ticks: int

    @property
    def ended(self) -> bool:
        """Whether only its exit code is left of it."""
        return self.state in _ENDED


class Everyone(dict[int, Process]):
    """Every process that could be seen, by id.

    Attributes:
        settled: Whether nothing was started while we looked: then nothing can be missing.
    """

    settled = True


def take() -> Everyone:
    """A look at every process. It takes about 15 µs for each."""
    before = last_id()
    found = (look_at(int(name)) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208 - quicker
    everyone = Everyone((process.pid, process) for process in found if process)
    everyone.settled = last_id() == before
    return everyone


def last_id() -> int:
    """The id that was given last, to a process or a thread; 0 where that is not told."""
    try:
        return int(_read("/proc/loadavg", 100).split()[-1])
    except (ValueError, IndexError):
        return 0


def look_at(pid: int) -> Process | None:
    """One process, or None where there is none of that id."""
    raw = _read(f"/proc/{pid}/stat", 1024)
    try:
        state, parent, _, session, *rest = raw[raw.rindex(b")") + 2 :].split(None, 20)
        return Process(pid, state.decode(), int(parent), int(session), int(rest[15]))
    except (ValueError, IndexError):
        return None


def carriers(everyone: Mapping[int, Process], *, since_ticks: int) -> dict[str, set[int]]:
    """Cookie → ids of the processes that carry it, as far as we may read their variables.

    Args:
        everyone: As `take` gives it.
        since_ticks: Older processes are not looked at.
    """
    found: dict[str, set[int]] = {}
    for process in everyone.values():
        if process.start_ticks >= since_ticks and not process.ended and (cookie := _cookie(process.pid)):
            found.setdefault(cookie, set()).add(process.pid)
    return found


def newest(number: int) -> Iterator[tuple[Process, str]]:
    """Those of the last `number` ids that still mean a process (or a thread), the youngest first, with their cookies.

    It takes 50 µs from the reading of an id to the process, where `take` takes milliseconds.
    """
    last = last_id()
    for pid in range(last, max(0, last - number), -1):
        process = look_at(pid)
        if process and not process.ended:
            yield process, _cookie(pid)


def _cookie(pid: int) -> str:
    variables = b"\0" + _read(f"/proc/{pid}/environ", _MOST_VARIABLES_BYTES)
    return variables.partition(_MARKER)[2].partition(b"\0")[0].decode(errors="replace")


def descendants(everyone: Mapping[int, Process], roots: Collection[int], *, but: int = 0) -> dict[int, int]:
    """Process → its parent, for all that descend from `roots`, not by way of `but`."""
    children: dict[int, list[int]] = {}
    for process in everyone.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: dict[int, int] = {}
    waiting = list(roots)
    while waiting:
        parent = waiting.pop()
        for child in children.get(parent, ()):
            if child not in found and child not in roots and child != but:
                found[child] = parent
                waiting.append(child)
    return found


def family(record: ProcessRecord, everyone: Mapping[int, Process], carrying: Iterable[int]) -> dict[int, int | None]:
    """The processes of a service that have not ended, never ourselves nor what we started.

    A process is one by being its first process (same id and start time), by carrying its cookie, by being in the
    session its first process made, or by descending from such a process. Once the first process is gone, its id, and so
    a session of that id, may be somebody else's: then the session counts only below the keeper, who adopts orphans.

    Args:
        record: The service; its process is of this boot and PID namespace.
        everyone: As `take` gives it.
        carrying: Processes that carry the record's cookie.

    Returns:
        Process → the parent by which alone it is known to belong to it, or None.
    """
    if record.process is None:
        return {}
    roots = set(carrying)
    first = everyone.get(record.process.pid)
    if first is not None and first.start_ticks == record.process.start_ticks:
        roots.add(first.pid)
        roots |= {process.pid for process in everyone.values() if process.session == first.pid}
    elif first is None and (keeper := _keeper(record, everyone)):
        kept = descendants(everyone, {keeper})
        roots |= {pid for pid in kept if everyone[pid].session == record.process.pid}
    known: dict[int, int | None] = {**descendants(everyone, roots, but=os.getpid()), **dict.fromkeys(roots)}
    spared = _spared(record, everyone)
    return {pid: via for pid, via in known.items() if pid not in spared and not everyone[pid].ended}


def _spared(record: ProcessRecord, everyone: Mapping[int, Process]) -> set[int]:
    """Ourselves; and where a program of the service runs us, what we run in turn, but not the service again."""
    ourselves = {os.getpid()}
    if os.environ.get(COOKIE) == record.cookie:
        keeper = _keeper(record, everyone) or 0
        ourselves |= descendants(everyone, ourselves, but=keeper).keys()
    return ourselves


def _keeper(record: ProcessRecord, everyone: Mapping[int, Process]) -> int | None:
    keeper = record.keeper
    seen = everyone.get(keeper.pid) if keeper else None
    return seen.pid if seen and keeper and seen.start_ticks == keeper.start_ticks else None


def _read(path: str, limit_bytes: int) -> bytes:
    """The beginning of a file, or b"" where it cannot be read: the process is gone, or another user's."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, limit_bytes)
    except OSError:
        return b""
    finally:
        os.close(fd)
