"""What finishes a session whose process was killed, and what sweeps away what nobody uses. Runs in the background.

    main(["session", STATE, SESSION, PID, TICKS, …]) when a watcher saw the session's process end
    main(["sweep", STATE])                           when a command found something to be due

Nobody reads what it prints, so what goes wrong is written into the state directory's reports.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from envctl import fleet
from envctl.conductor import session, sweeping
from envctl.conductor.place import lock_name
from envctl.errors import Busy
from envctl.host import clock, files, groups, heartbeat, locks, owner, paths
from envctl.host.background import MARK
from envctl.host.registry import Registry
from envctl.report import Silent

_ASK_AGAIN_S = 0.2
_GRACE_S = 5.0
_LOCK_LIMIT_S = 600.0


def main(arguments: Sequence[str]) -> None:
    """Do what the arguments say; raises nothing."""
    what, state, *rest = arguments
    environ = {**os.environ, "ENVCTL_STATE_DIR": state, MARK: "1"}
    try:
        if what == "sweep":
            _sweep(Path(state), environ)
        else:
            _end_session(Path(state), environ, *rest)
    except Exception as error:  # noqa: BLE001 - there is nobody to raise it to
        _report(Path(state), what, error)


def _sweep(state: Path, environ: dict[str, str]) -> None:
    with suppress(Busy), locks.machine_lock(state, sweeping.LOCK, timeout_s=0.0, purpose="a sweep"):
        fleet.collect(environ, progress=Silent(), thorough=False)


def _end_session(state: Path, environ: dict[str, str], session_id: str, *programs: str) -> None:
    """End the session and the programs it ran; then wait for those that work on its behalf, and end theirs."""
    groups.end_all([(int(pid), int(ticks)) for pid, ticks in zip(programs[::2], programs[1::2], strict=True)], _GRACE_S)
    registry = Registry.open(state)
    found = registry.find_session(session_id)
    if found is None:
        # It was killed while it removed the environment; or a worker of the run, which came to its end first, has
        # ended the run's session too.
        fleet.collect(environ, progress=Silent(), thorough=False, wait_s=_LOCK_LIMIT_S)
        heartbeat.forget(state, session_id)
        return
    name = found.identity.name
    key = lock_name(found.identity.key)
    with locks.environment_lock(state, key, timeout_s=_LOCK_LIMIT_S, purpose="a killed run's end"):
        pass  # whoever brings it up must have finished, or been ended by the kernel
    session.end(state, registry, environ, session_id, progress=Silent())
    while (now := registry.find(name=name)) is not None:
        helpers = [one for one in now.sessions if session.family(one) == session_id]
        if not helpers:
            break
        for helper in helpers:
            if not heartbeat.is_alive(state, helper):
                session.end(state, registry, environ, helper.id, progress=Silent())
        clock.sleep_s(_ASK_AGAIN_S)


def _report(state: Path, what: str, error: Exception) -> None:
    from traceback import format_exception

    from envctl.host.log import redact

    me = owner.current()
    file = paths.reports_dir(state) / f"reaper-{clock.now():%Y%m%dT%H%M%S%f}-{me.pid}.txt"
    paths.make_private(file.parent)
    files.write_atomic(file, redact(f"envctl reaper {what}\n\n{''.join(format_exception(error))}"))
