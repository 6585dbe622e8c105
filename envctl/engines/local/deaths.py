"""Being told at once when a process of a stack ends, and finding out why."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from envctl.engines.local import log, records, tree
from envctl.engines.local.records import ProcessRecord
from envctl.host import clock, owner
from envctl.model import Death

_TAIL_LINES = 20
_NOTED_WITHIN_S = 0.5  # by the keeper, which first reads what the process has said
_LOOK_AGAIN_S = 0.002
_AWAY = "envctl: the program went to the background; it must run in the foreground"


def autopsy(record: ProcessRecord) -> Death:
    """Why a process is not running: its exit code, how long it ran, its last lines.

    Where it has just ended, its keeper is given a moment to note that.
    """
    record = _noted(record)
    lines = _tail(record)
    if record.exit_code == 0 and tree.family([record]):
        lines = (*lines, _AWAY)
    known = record.ended_at_s is not None and record.started_at_s is not None
    ran_s = (record.ended_at_s or 0.0) - (record.started_at_s or 0.0) if known else None
    return Death(
        record.name,
        exit_code=record.exit_code,
        log_tail=lines[-_TAIL_LINES:],
        ran_s=None if ran_s is None else max(0.0, ran_s),
    )


def _noted(record: ProcessRecord) -> ProcessRecord:
    until_s = clock.monotonic_s() + _NOTED_WITHIN_S
    while (record := records.read(record.folder)).exit_code is None and record.process and record.keeper:
        if owner.is_alive(record.process) or not owner.is_alive(record.keeper) or clock.monotonic_s() > until_s:
            return records.read(record.folder)  # the keeper may have written it just before it ended
        clock.sleep_s(_LOOK_AGAIN_S)
    return record


def _tail(record: ProcessRecord) -> tuple[str, ...]:
    """The last lines since this start."""
    since = datetime.fromtimestamp((record.started_at_s or 0.0) - 0.001, UTC).isoformat()
    try:
        return tuple(log.lines(record.folder, follow=False, tail_lines=_TAIL_LINES, since=since))
    except OSError:
        return ()


class Deaths:
    """Where the ends of processes are told, whoever sees them: the keeper of those we start, the kernel for others."""

    def __init__(self) -> None:
        self._reports: list[Callable[[Death], None]] = []
        self._closers: list[Callable[[], None]] = []

    def ended(self, death: Death) -> None:
        """A process that was just started has ended."""
        for report in self._reports[-1:]:
            report(death)

    def attach(self, close: Callable[[], None]) -> bool:
        """Have `close` called when nobody wants to know any more; whether somebody wants to know now."""
        if self._reports:
            self._closers.append(close)
        return bool(self._reports)

    @contextmanager
    def watch(self, running: Iterable[ProcessRecord], report: Callable[[Death], None]) -> Iterator[None]:
        """Call `report`, from another thread, for each process that ends while the block runs.

        Args:
            running: Services that may be running already; what is started meanwhile is told by `ended`.
            report: Gets each death, with its evidence.
        """
        watched = _Watched(running, report)
        self._reports.append(report)
        try:
            yield
        finally:
            self._reports.remove(report)
            watched.stop()
            while not self._reports and self._closers:
                self._closers.pop()()


class _Watched:
    """Processes whose end the kernel tells; a thread waits for it where there are any."""

    def __init__(self, running: Iterable[ProcessRecord], report: Callable[[Death], None]) -> None:
        self._report = report
        self._records: dict[int, ProcessRecord] = {}
        alive = [record for record in running if record.process and owner.is_alive(record.process)]
        for record in alive:
            if (fd := _descriptor(record)) is not None:
                self._records[fd] = record
        self._thread: threading.Thread | None = None
        if self._records:
            self._wake, self._waker = os.pipe()
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Tell no more."""
        if self._thread is not None:
            os.close(self._waker)
            self._thread.join()
            os.close(self._wake)

    def _run(self) -> None:
        poll = select.poll()
        for fd in (self._wake, *self._records):
            poll.register(fd, select.POLLIN)
        while True:
            ended = [fd for fd, _ in poll.poll()]
            if self._wake in ended:
                break
            for fd in ended:
                poll.unregister(fd)
                os.close(fd)
                self._report(autopsy(self._records.pop(fd)))
        for fd in self._records:
            os.close(fd)


def _descriptor(record: ProcessRecord) -> int | None:
    """A descriptor that can be read when the process has ended; None where it cannot be had."""
    assert record.process is not None  # noqa: S101 - the caller looked
    try:
        fd = os.pidfd_open(record.process.pid)
    except OSError:
        return None
    if owner.is_alive(record.process):
        return fd
    os.close(fd)
    return None
