"""One command several times at once, each with data of its own: `envctl run --workers N`."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

from envctl import environment
from envctl.conductor.data.workers import Workers
from envctl.conductor.place import open_place
from envctl.environment import Selection
from envctl.errors import EnvctlError, Interrupted
from envctl.host import clock
from envctl.host.lines import Lines
from envctl.host.signals import shielded
from envctl.report import EnvironmentReport, Progress
from envctl.running import GRACE_S, STRAGGLERS_GRACE_S, Run, RunWishes

if TYPE_CHECKING:
    from envctl.host.child import Child

_DRAIN_S = 1.0


class WorkersRun(Run):
    """As `Run`, with so many copies of the command at once.

    Where there are several, they read nothing and have no terminal, and each of their lines begins with "[NUMBER] ".
    The exit code is that of the first, by number, that failed.

    Args:
        selection: Which environment.
        wishes: How it is to be run.
        count: How many.
    """

    def __init__(self, selection: Selection, wishes: RunWishes, count: int) -> None:
        super().__init__(selection, wishes)
        self._count = count
        self._workers: Workers | None = None
        self._children: list[Child] = []
        self._lines = Lines()
        self._goes = False

    def up(self, progress: Progress) -> EnvironmentReport:
        """Bring the environment up, and make each worker's data. Raises EnvctlError."""
        report = super().up(progress)
        self._goes = report.ephemeral and not self._wishes.keep
        try:
            if report.session is None:
                raise ValueError("the report is of no session")
            self._workers = Workers(open_place(self._inner()), report.session, self._count)
            self._workers.prepare()
        except BaseException:
            self.end(progress)
            raise
        return report

    def execute(self, command: Sequence[str]) -> int:
        """Run them all to their ends, and pass signals on to them, as `Run.execute` does; the exit code."""
        self._began_at = clock.now()
        try:
            with shielded():
                self._start(command)
            self.code = self._wait()
        except Interrupted as interruption:
            if not self._children:
                raise
            self.interrupted = interruption
            for child in self._children:
                child.signal(interruption.signal_number)
            if interruption.signal_number != signal.SIGINT:
                return interruption.exit
            self.code = self._wait()
        return self.code

    def _start(self, command: Sequence[str]) -> None:
        from envctl.host.child import start

        begins = self._watcher.begins if self._watcher else None
        width = len(str(self._count))
        try:
            for worker in self._workers.all if self._workers else ():
                environ = {**self._selection.environ, **worker.variables}
                if self._count == 1:
                    self._children.append(start(command, environ, begins=begins))
                    continue
                with self._lines.streams(f"[{worker.number:{width}}] ") as streams:
                    self._children.append(start(command, environ, begins=begins, streams=streams))
        finally:
            if self._count > 1:
                self._lines.begin()

    def _wait(self) -> int:
        codes = [child.wait() for child in self._children]
        return next((code for code in codes if code), 0)

    def _end_stragglers(self, progress: Progress) -> None:
        if self.code is None:
            return
        for number, child in enumerate(self._children, 1):
            for one in child.end_stragglers(STRAGGLERS_GRACE_S):
                progress.note(f"ended what worker {number} left running: {one.name or 'a process'} (pid {one.pid})")
        self._lines.end(_DRAIN_S)

    def _end_uses(self, progress: Progress) -> None:
        """End the workers' sessions, and remove their data, unless the environment goes or is kept to be looked at."""
        if self._workers is None:
            return
        try:
            if not self._goes and not self.keeps_failed:
                self._end_command()
                self._workers.remove()
        except Interrupted:
            raise
        except EnvctlError as error:  # who gets their slots next removes it
            progress.note(f"data of the workers could not be removed: {error.cause or error.message}")
        finally:
            self._workers.forget()
            for worker in self._workers.all:
                environment.end_session(self._selection.environ, worker.session.id)

    def _end_command(self) -> None:
        """End those that still run: all are asked at once, then each is waited for."""
        if self.code is not None or not self._children:
            return
        for child in self._children:
            child.signal(signal.SIGTERM)
        codes = [child.end(GRACE_S) for child in self._children]
        self.code = next((code for code in codes if code), 0)
        self._lines.end(_DRAIN_S)
