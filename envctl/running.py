"""An environment for as long as something runs: a command (`envctl run`), or a process that is there already."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from envctl import environment
from envctl.environment import Selection, Wishes
from envctl.errors import ProcessNotFound
from envctl.host import owner, paths
from envctl.model import SessionRequest
from envctl.report import EnvironmentReport, Progress

if TYPE_CHECKING:
    from envctl.host.watcher import Watcher
    from envctl.model import Owner
    from envctl.report import Removal


@contextmanager
def watched(environ: Mapping[str, str], session_id: str, of: Owner) -> Iterator[Watcher]:
    """Start a watcher before the session begins; it is dismissed where the block fails in good order.

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
        watcher.dismiss()
        raise


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
    request = SessionRequest(session_of_process(of), owner.command_name(pid) or "a process", of)
    with watched(selection.environ, request.id, of) as watcher:
        report = environment.up(selection, progress=progress, wishes=replace(wishes, session=request))
        watcher.leave()
    return report


def end_for_process(environ: Mapping[str, str], pid: int, *, progress: Progress) -> Removal | None:
    """End what `up_for_process` began; None where nothing was removed."""
    with suppress(ValueError):
        of = owner.of(pid)
        if of is not None:
            return environment.end_session(environ, session_of_process(of), progress=progress)
    return None


def session_of_process(of: Owner) -> str:
    """The session that belongs to a process: the same each time, and another for the next process of that number."""
    return f"p{of.pid}x{of.start_ticks}"


def new_session(purpose: str, *, keep: bool = False) -> SessionRequest:
    """A session of this process."""
    return SessionRequest(os.urandom(6).hex(), purpose, owner.current(), keep)
