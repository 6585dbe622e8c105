"""An environment for as long as something runs: a command (`envctl run`), or a process that is there already."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envctl import environment
from envctl.conductor.place import open_place
from envctl.environment import SESSION_VARIABLE, Selection, Wishes
from envctl.errors import EnvctlError, EnvironmentNotFound, Interrupted, ProcessNotFound
from envctl.host import clock, owner, paths
from envctl.host.signals import shielded
from envctl.model import SessionRequest
from envctl.report import EnvironmentReport, Progress

if TYPE_CHECKING:
    from envctl.conductor.artifacts import Artifacts
    from envctl.host.child import Child
    from envctl.host.watcher import Watcher
    from envctl.model import Owner
    from envctl.report import Removal

GRACE_S = 10.0  # as long as `docker stop` gives
STRAGGLERS_GRACE_S = 2.0


@contextmanager
def watched(environ: Mapping[str, str], session_id: str, of: Owner) -> Iterator[Watcher]:
    """Start a watcher before the session begins; where the block fails, it ends what has not been ended.

    Args:
        environ: The caller's variables.
        session_id: The session that is about to begin.
        of: The process it belongs to.

    Raises:
        OsLimit: No process can be started.
    """
    from envctl.errors import OsLimit
    from envctl.host.watcher import Watcher

    state = paths.ensure_state_dir(paths.state_dir(environ))
    try:
        watcher = Watcher(state, session_id, of, environ)
    except OSError as error:
        raise OsLimit(
            "the process that watches over the environment could not be started", cause=error.strerror
        ) from error
    try:
        yield watcher
    except BaseException:
        if _has_ended(state, session_id):
            watcher.dismiss()
        else:
            watcher.leave()
        raise


def _has_ended(state: Path, session_id: str) -> bool:
    """Whether there is certainly nothing left to be done for a session."""
    from envctl.host.registry import Registry

    try:
        with Registry.open(state) as registry:
            return registry.find_session(session_id) is None
    except Interrupted:
        raise
    except EnvctlError:
        return False


def up_for_process(selection: Selection, pid: int, *, progress: Progress, wishes: Wishes) -> EnvironmentReport:
    """Bring the environment up for a process that is there already; it goes with that process unless it was up before.

    Again, for the same process, changes nothing.

    Raises:
        ProcessNotFound: There is no such process.
        EnvctlError: It could not be brought up.
    """
    of = owner.of(pid)
    if of is None or not owner.is_alive(of):
        raise ProcessNotFound(f"there is no process {pid}", subject={"pid": pid}, state="unchanged")
    session_id = f"{_of_process(of)}{open_place(selection).key[:12]}"
    request = SessionRequest(session_id, owner.command_name(pid) or "a process", of)
    with watched(selection.environ, request.id, of) as watcher:
        try:
            report = environment.up(selection, progress=progress, wishes=replace(wishes, session=request))
        except EnvironmentNotFound as error:  # the watcher was quicker
            if owner.is_alive(of):
                raise
            raise _has_ended_meanwhile(pid) from error
        if not owner.is_alive(of):
            environment.end_session(selection.environ, request.id, progress=progress)
            raise _has_ended_meanwhile(pid)
        watcher.leave()
    return report


def _has_ended_meanwhile(pid: int) -> ProcessNotFound:
    state = "what was made for it is removed"
    return ProcessNotFound(f"process {pid} has ended meanwhile", subject={"pid": pid}, state=state)


def end_for_process(selection: Selection, pid: int, *, progress: Progress) -> list[Removal]:
    """End what `up_for_process` began for a process: the session we are called in if it is one of these, else all.

    Args:
        selection: The caller's variables; which environment it names does not matter.
        pid: The process.
        progress: Is told what happens.

    Returns:
        What was removed.
    """
    of = owner.of(pid)
    if of is None:
        return []
    begun = [found for found in open_place(selection).registry.sessions_of(of) if found.startswith(_of_process(of))]
    around = selection.environ.get(SESSION_VARIABLE, "")
    ended = [around] if around in begun else begun
    removals = [environment.end_session(selection.environ, session_id, progress=progress) for session_id in ended]
    return [removal for removal in removals if removal]


def _of_process(of: Owner) -> str:
    """How the sessions of a process begin: the same each time, and another for the next process of that number."""
    return f"p{of.pid}x{of.start_ticks}-"


def new_session(purpose: str, *, keep: bool = False) -> SessionRequest:
    """A session of this process."""
    return SessionRequest(os.urandom(6).hex(), purpose, owner.current(), keep)


class RunWishes(NamedTuple):
    """How a command is to be run.

    Attributes:
        keep: Whether an environment that is made for it stays afterwards.
        keep_failed: Whether it stays if the command, or the `up`, fails.
        fresh: Whether what is there is removed first.
        ttl_s: How long it lives without use, seconds, or None for what the configuration says.
        timeout_s: Time for becoming ready, seconds, or None for what the configuration says.
        artifacts: Where the services' logs go if the command fails, or None for a folder of the state directory.
    """

    keep: bool = False
    keep_failed: bool = False
    fresh: bool = False
    ttl_s: float | None = None
    timeout_s: float | None = None
    artifacts: Path | None = None


class Run:
    """One command with an environment around it: `up`, `execute`, `end`, in this order.

    Killed at any moment, its watcher ends the command and removes what was made for it.

    Attributes:
        code: The command's exit code once it has ended.
        interrupted: The signal that came meanwhile.
    """

    def __init__(self, selection: Selection, wishes: RunWishes) -> None:
        self._selection, self._wishes = selection, wishes
        self._request = new_session("envctl run", keep=wishes.keep)
        self._watcher: Watcher | None = None
        self._child: Child | None = None
        self.code: int | None = None
        self._began_at = clock.now()
        self.interrupted: Interrupted | None = None
        self._name = ""
        self._variables: dict[str, str] = {}

    def up(self, progress: Progress) -> EnvironmentReport:
        """Bring the environment up. Raises EnvctlError."""
        wishes = self._wishes
        request = self._request
        options = Wishes(wishes.timeout_s, wishes.keep_failed, wishes.fresh, wishes.ttl_s, request)
        with watched(self._selection.environ, request.id, request.owner) as watcher:
            report = environment.up(self._selection, progress=progress, wishes=options)
            self._watcher = watcher
        self._name = report.identity.name
        self._variables = {**self._selection.environ, **report.variables, SESSION_VARIABLE: request.id}
        return report

    def execute(self, command: Sequence[str]) -> int:
        """Run the command to its end, and pass signals on to it; its exit code, 128 + N if it died of signal N.

        SIGINT is a wish to stop: the command is waited for, and its services stay until it has ended. SIGTERM and
        SIGHUP leave no time: they are passed on, and `end` removes the environment while the command ends.

        Raises:
            CommandNotFound: There is no such program.
            CommandNotExecutable: It cannot be run.
        """
        from envctl.host.child import start

        self._began_at = clock.now()
        try:
            with shielded():
                begins = self._watcher.begins if self._watcher else None
                self._child = start(command, self._variables, begins=begins)
            self.code = self._child.wait()
        except Interrupted as interruption:
            if self._child is None:
                raise
            self.interrupted = interruption
            self._child.signal(interruption.signal_number)
            if interruption.signal_number != signal.SIGINT:
                return interruption.exit
            self.code = self._child.wait()
        return self.code

    def keep_artifacts(self) -> Artifacts | None:
        """Keep what the services said during the run, if the command failed by itself.

        Raises:
            CannotWrite: It cannot be written.
        """
        from envctl.conductor import artifacts

        stopped = self.interrupted or self.code == 128 + signal.SIGINT
        if not self.code or (stopped and self._wishes.artifacts is None):
            return None
        place = open_place(self._inner())
        return artifacts.keep(place, self._began_at, self._wishes.artifacts)

    def end(self, progress: Progress) -> Removal | None:
        """End the session, and what the command has left running in its process group; to be called however it ended.

        Returns:
            What was removed; None where the environment stays.

        Raises:
            Leftovers: Something could not be removed.
        """
        with shielded(left=lambda: [f"environment {self._name}"]):
            self._end_stragglers(progress)  # first: they may use its services
            try:
                self._end_uses(progress)
                removal = environment.end_session(
                    self._selection.environ, self._request.id, keep=self.keeps_failed, progress=progress
                )
            finally:
                self._end_command()
            if self._watcher:
                self._watcher.dismiss()
        return removal

    @property
    def keeps_failed(self) -> bool:
        """Whether the environment stays because the command failed."""
        return self._wishes.keep_failed and self.code not in {0, None}

    def _end_stragglers(self, progress: Progress) -> None:
        if self._child is None or self.code is None:
            return
        for one in self._child.end_stragglers(STRAGGLERS_GRACE_S):
            progress.note(f"ended what the command left running: {one.name or 'a process'} (pid {one.pid})")

    def _end_uses(self, progress: Progress) -> None:
        """End what else there is of this use of the environment."""

    def _end_command(self) -> None:
        if self._child and self.code is None:
            self.code = self._child.end(GRACE_S)

    def _inner(self) -> Selection:
        environ = {**self._selection.environ, SESSION_VARIABLE: self._request.id}
        return replace(self._selection, environ=environ, label="", branch=None)
