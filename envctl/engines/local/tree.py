"""Ending the processes of services, all of them and nobody else's.

A process is signalled through a hold on it (`handle`), so an id that was given to another program is never hit.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum

from envctl.engines.local import census, handle
from envctl.engines.local.census import Process
from envctl.engines.local.records import ProcessRecord
from envctl.host import clock, owner
from envctl.model import Owner

_KILL_LIMIT_S = 5.0  # for the kernel to end what was killed; a process that waits for a broken disk takes longer
_LOOK_AGAIN_S = 0.02  # while processes are killed that may be making others
_KEEPER_LIMIT_S = 1.0
_SWEEPS, _NEWEST = 8, 32  # what flees by forking is always among the youngest processes


@dataclass(frozen=True, slots=True)
class Stop:
    """A service that is to end.

    Attributes:
        record: The service.
        signal: What its first process gets; the others get SIGTERM when that has ended, or after half of the grace.
            With SIGKILL all get that at once.
        grace_s: After this time all are killed, seconds.
    """

    record: ProcessRecord
    signal: int = signal.SIGTERM
    grace_s: float = 10.0


class _Level(IntEnum):
    NONE, ASKED, TOLD, KILLED = range(4)


def family(records: Iterable[ProcessRecord]) -> set[Process]:
    """Every process that belongs to these services and has not ended; none of another boot or PID namespace."""
    here = owner.current().boot_id
    ours = [record for record in records if record.process and record.process.boot_id == here]
    everyone, carrying = _look(ours)
    return {
        everyone[pid] for record in ours for pid in census.family(record, everyone, carrying.get(record.cookie, ()))
    }


def end(stops: Iterable[Stop], *, keepers: bool = True) -> list[str]:
    """End services with all of their processes, all at once; those that have ended already cost only the look.

    Args:
        stops: The services.
        keepers: Whether to wait for their keepers too, so that all is in their logs; one that still keeps another
            service is left alone, and one that does not end is killed.

    Returns:
        What could not be ended, in words, with the reason.
    """
    here = owner.current().boot_id
    known = [stop for stop in stops if stop.record.process is not None]
    families = [_Family(stop) for stop in known if stop.record.process and stop.record.process.boot_id == here]
    left = [_unseen(stop.record) for stop in known if stop.record.process and _is_unseen(stop.record.process, here)]
    try:
        everyone = _end_all(families)
        left += [line for one in families for line in one.left()]
    finally:
        for one in families:
            one.close()
    if keepers:
        _end_keepers({one.record.keeper for one in families if one.record.keeper}, everyone)
    return left


def _look(records: Sequence[ProcessRecord]) -> tuple[census.Everyone, dict[str, set[int]]]:
    if not records:
        return census.Everyone(), {}
    everyone = census.take()
    oldest = min(record.process.start_ticks for record in records if record.process)
    return everyone, census.carriers(everyone, since_ticks=oldest)


def _is_unseen(process: Owner, here: str) -> bool:
    """Whether it may be alive where we cannot see it: in another PID namespace."""
    return process.boot_id != here and owner.is_alive(process)


def _unseen(record: ProcessRecord) -> str:
    pid = record.process.pid if record.process else 0
    return f'service "{record.name}": process {pid} runs in another PID namespace (a container?); end it from there'


class _Family:
    """One service's processes while they are being ended."""

    def __init__(self, stop: Stop) -> None:
        self.record, self._signal = stop.record, stop.signal
        now = clock.monotonic_s()
        at_once = stop.signal == signal.SIGKILL
        self._tell_at_s = now + stop.grace_s / 2
        self._kill_at_s = now if at_once else now + stop.grace_s
        self._give_up_at_s = self._kill_at_s + _KILL_LIMIT_S
        self._first: int | None = None  # descriptor of the first process, kept when that has ended
        self._alive: dict[int, Process] = {}  # by descriptor
        self._sent: dict[int, _Level] = {}
        self._refused: dict[int, str] = {}
        self.unsure = self.killing = False

    @property
    def runs_us(self) -> bool:
        """Whether a program of the service runs us."""
        return os.environ.get(census.COOKIE) == self.record.cookie

    @property
    def descriptors(self) -> list[int]:
        """Of all that is known to be alive."""
        return list(self._alive)

    def look(self, everyone: census.Everyone, carrying: Iterable[int]) -> None:
        """Find processes that are not known yet."""
        identities = {(process.pid, process.start_ticks) for process in self._alive.values()}
        self.unsure = False
        for pid, via in census.family(self.record, everyone, carrying).items():
            process = everyone[pid]
            if (pid, process.start_ticks) not in identities:
                self._take(process, everyone[via] if via is not None else None)

    def _take(self, process: Process, via: Process | None) -> None:
        fd = handle.take(process)
        if fd is None:
            self.unsure = True  # gone in this moment, and it may have left a child
            return
        parent = census.look_at(via.pid) if via else None
        if via and (parent is None or parent.start_ticks != via.start_ticks):
            os.close(fd)  # whose child it is we know only of a parent that lived all the while
            self.unsure = True
            return
        self._alive[fd] = process
        self._sent[fd] = _Level.NONE
        if self.record.process and process.pid == self.record.process.pid:
            self._first = fd

    def ended(self, fd: int) -> bool:
        """Note that a process has ended; whether it is time to look again."""
        del self._alive[fd]
        self._refused.pop(fd, None)
        if fd != self._first:
            os.close(fd)
        return fd == self._first or not self._alive

    def act(self, now: float) -> float | None:
        """Send what is due; when to act again, or None to give up."""
        level = self._level(now)
        self.killing = level is _Level.KILLED
        if self.killing and self._first is not None and not self.runs_us:
            handle.kill_group(self._first)
        for fd in self._alive:
            if self._sent[fd] < level:
                self._send(fd, level)
        if now >= self._give_up_at_s or (self._alive and self._alive.keys() <= self._refused.keys()):
            return None
        if level is _Level.KILLED:
            return now + _LOOK_AGAIN_S
        return self._kill_at_s if level is _Level.TOLD else self._tell_at_s

    def _level(self, now: float) -> _Level:
        if now >= self._kill_at_s:
            return _Level.KILLED
        return _Level.ASKED if self._first in self._alive and now < self._tell_at_s else _Level.TOLD

    def _send(self, fd: int, level: _Level) -> None:
        if level is _Level.KILLED:
            self._signal_one(fd, signal.SIGKILL)
        elif fd == self._first:
            if self._sent[fd] is _Level.NONE:
                self._signal_one(fd, self._signal)
        elif level is _Level.TOLD:
            self._signal_one(fd, signal.SIGTERM)
        self._sent[fd] = level

    def _signal_one(self, fd: int, number: int) -> None:
        try:
            handle.send(fd, self._alive[fd], number)
            if number != signal.SIGKILL and self._alive[fd].state in "Tt":
                handle.send(fd, self._alive[fd], signal.SIGCONT)
        except ProcessLookupError:
            return  # it has ended, which `_wait` will see
        except OSError as error:
            if number == signal.SIGKILL:
                self._refused[fd] = (error.strerror or str(error)).lower()

    def left(self) -> list[str]:
        """What is still alive."""
        return [
            f'service "{self.record.name}": process {process.pid} ({owner.command_name(process.pid)}): '
            + self._refused.get(fd, "did not end when it was killed")
            for fd, process in self._alive.items()
        ]

    def close(self) -> None:
        """Let go of the descriptors."""
        for fd in {*self._alive, *([self._first] if self._first is not None else [])}:
            os.close(fd)


def _end_all(families: Sequence[_Family]) -> census.Everyone:
    """End them; the last look at all processes."""
    everyone = census.Everyone()
    active = list(families)
    while active:
        everyone, carrying = _look([one.record for one in active])
        for one in active:
            one.look(everyone, carrying.get(one.record.cookie, ()))
        active = _not_done(active, settled=everyone.settled)
        now = clock.monotonic_s()
        due = {one: one.act(now) for one in active}
        active = [one for one in active if due[one] is not None]
        if active:
            _wait(active, min(at_s for at_s in due.values() if at_s is not None))
    return everyone


def _not_done(families: Sequence[_Family], *, settled: bool) -> list[_Family]:
    """The families of which processes are alive; what flees by forking all the time, a look at everyone misses."""
    missed = {one.record.cookie for one in families if not one.runs_us and (one.killing or not one.descriptors)}
    missed.discard("")  # of a damaged record: everybody else's processes carry no cookie either
    seen: set[str] = set()
    for _ in range(0 if settled or not missed else _SWEEPS):
        before = census.last_id()
        seen = _sweep(missed)
        if seen or census.last_id() == before:
            break
    return [one for one in families if one.descriptors or one.unsure or one.record.cookie in seen]


def _sweep(cookies: Collection[str]) -> set[str]:
    """Kill the youngest processes that carry one of the cookies, each at once; which cookies were seen."""
    seen = set()
    for process, cookie in census.newest(_NEWEST):
        if cookie in cookies and (fd := handle.take(process)) is not None:
            seen.add(cookie)
            with suppress(OSError):
                handle.send(fd, process, signal.SIGKILL)
            os.close(fd)
    return seen


def _wait(families: Sequence[_Family], until_s: float) -> None:
    """Until a family must be looked at again, or something is due."""
    whose = {fd: one for one in families for fd in one.descriptors}
    look = not all(one.descriptors for one in families)
    while not look:
        ended = handle.wait(whose.keys(), until_s - clock.monotonic_s())
        for fd in ended:
            look |= whose.pop(fd).ended(fd)
        look |= not ended


def _end_keepers(keepers: Iterable[Owner], everyone: Mapping[int, Process]) -> None:
    """Wait for the keepers that have nothing left to keep. One that is gone already is not in `everyone`."""
    busy = {process.parent for process in everyone.values() if not process.ended}
    for keeper in keepers:
        process = everyone.get(keeper.pid)
        if process is None or process.start_ticks != keeper.start_ticks or keeper.pid in busy:
            continue
        fd = handle.take(process)
        if fd is None:
            continue
        try:
            if not handle.wait([fd], _KEEPER_LIMIT_S):
                with suppress(OSError):
                    handle.send(fd, process, signal.SIGKILL)
                handle.wait([fd], _KEEPER_LIMIT_S)
        finally:
            os.close(fd)
        with suppress(ChildProcessError):
            os.waitpid(keeper.pid, os.WNOHANG)  # where it was us who started it
