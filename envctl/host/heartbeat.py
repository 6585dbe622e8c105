"""Whether the process behind a session lives.

By its process id and start time where these can be seen. A process of another PID namespace (a container that shares
the state directory) cannot be seen, so a watcher writes down every few seconds that it still is there: in seconds since
the machine's start, which all namespaces share and nobody can set.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from envctl.host import clock, owner
from envctl.model import Session

BEAT_S = 20.0
_SILENT_S = 6 * BEAT_S


def path(state: Path, session_id: str) -> Path:
    """Where the session's watcher writes; the workers of a test run live by the watcher of the run."""
    return state / "sessions" / session_id.partition(".")[0]


def forget(state: Path, session_id: str) -> None:
    """Nothing is left to be done for the session. The run of a worker goes on."""
    if "." not in session_id:
        with suppress(OSError):
            path(state, session_id).unlink()


def is_alive(state: Path, session: Session) -> bool:
    """Whether the session's process lives; whatever cannot be known counts as alive."""
    if not owner.is_alive(session.owner):
        return False
    if not owner.is_foreign(session.owner):
        return True
    try:
        beat_s = float(path(state, session.id).read_text("ascii"))
    except (OSError, ValueError):
        return True
    return clock.boot_s() - beat_s < _SILENT_S


def living(state: Path, sessions: tuple[Session, ...]) -> tuple[Session, ...]:
    """Those whose process lives."""
    return tuple(session for session in sessions if is_alive(state, session))
