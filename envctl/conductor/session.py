"""Sessions: who uses an environment, and that it goes with the last of them.

A session is written down in the same step as the environment it is made for, and ended in the same step in which an
environment that nobody uses any more is marked as being removed. So between the two there is always somebody: a
process that lives, its watcher, or the next command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from envctl.conductor import removing
from envctl.conductor.place import SESSION_VARIABLE, Place, lock_name
from envctl.errors import EnvironmentInUse, EnvironmentNotFound
from envctl.host import heartbeat, locks, owner
from envctl.host.registry import EnvironmentRecord, Registry
from envctl.host.signals import shielded
from envctl.model import Session, SessionRequest
from envctl.report import Progress, Removal

_LOCK_LIMIT_S = 90.0


@contextmanager
def begun(place: Place, progress: Progress) -> Iterator[None]:
    """Begin the session that is wished for where its environment is up already; end it where the block fails.

    A new environment's session begins with the environment, by `Registry.claim`. One that had begun before stays.
    """
    request = place.wishes.session
    if request is None:
        yield
        return
    is_new = place.registry.find_session(request.id) is None
    place.registry.attach(place.key, request)
    try:
        yield
    except BaseException:
        if not is_new:
            raise
        with shielded():
            environ, keep = place.selection.environ, place.wishes.keep_failed
            end(place.state, place.registry, environ, request.id, keep=keep, progress=progress)
        raise


def end(
    state: Path,
    registry: Registry,
    environ: Mapping[str, str],
    session_id: str,
    *,
    keep: bool = False,
    progress: Progress,
    on_mark: Callable[[], None] | None = None,
) -> Removal | None:
    """End a session; removes its environment where that was made for sessions and this was the last one.

    Args:
        state: The state directory.
        registry: The registry in it.
        environ: The caller's variables.
        session_id: The session; one that has ended already is fine.
        keep: Whether the environment stays from now on, whoever ends.
        progress: Is told what happens.
        on_mark: Is called when the environment is marked as being removed, before that begins.

    Returns:
        What was removed, or None where the environment stays.

    Raises:
        Leftovers: Something could not be removed.
        Busy: Another process works on the environment and does not end.
    """
    removal = None
    if last := registry.end_session(session_id, keep=keep, locked=False):
        name = lock_name(last.identity.key)
        with locks.environment_lock(
            state, name, timeout_s=_LOCK_LIMIT_S, purpose="the end of a session", on_wait=progress.note
        ):
            if gone := registry.end_session(session_id, keep=keep):
                if on_mark is not None:
                    on_mark()
                for service in gone.details.get("services", {}):
                    progress.phase(service, "removing")
                removal = removing.remove(state, registry, gone, environ)
    heartbeat.forget(state, session_id)  # last: by it a watcher knows whether there is something left to be done
    return removal


def begin_removal(registry: Registry, found: EnvironmentRecord, environ: Mapping[str, str]) -> None:
    """Mark an environment as being removed, so that no session can begin any more; the caller holds its lock.

    Args:
        registry: The registry.
        found: The environment.
        environ: The caller's variables; a command inside a session may end what it runs in.

    Raises:
        EnvironmentInUse: Somebody else uses it.
    """
    around = environ.get(SESSION_VARIABLE, "")

    def is_own(session: Session) -> bool:
        return family(session) == around or owner.is_ancestor(session.owner)

    if others := registry.begin_removal(found.identity.name, is_own):
        raise _in_use(found, others, "envctl down --force removes the environment all the same")


def begin_renewal(registry: Registry, found: EnvironmentRecord, own: str) -> None:
    """As `begin_removal`, where the environment is made anew: whoever uses it would lose its data and passwords.

    Args:
        registry: The registry.
        found: The environment.
        own: The caller's own session, or "".

    Raises:
        EnvironmentInUse: Somebody else uses it, be it the command this one runs in.
    """
    if others := registry.begin_removal(found.identity.name, lambda session: session.id == own):
        raise _in_use(found, others, "envctl down --force, then envctl up; those who use it lose data and passwords")


def _in_use(found: EnvironmentRecord, others: Sequence[Session], force: str) -> EnvironmentInUse:
    return EnvironmentInUse(
        f"{found.identity.name} is in use by {_words(others)}",
        fix=["wait until it ends, or end it", force],
        subject={"environment": found.identity.name, "pids": [session.owner.pid for session in others]},
        state="unchanged",
    )


def family(session: Session) -> str:
    """The session that this one is of, or on behalf of."""
    return session.id.partition(".")[0]


def of_request(registry: Registry, request: SessionRequest) -> Session:
    """The session that began. Raises EnvironmentNotFound where it is gone again."""
    found = registry.find_session(request.id)
    for session in found.sessions if found else ():
        if session.id == request.id:
            return session
    raise EnvironmentNotFound("the environment was removed by somebody else meanwhile", fix=["try again"])


def _words(sessions: Sequence[Session]) -> str:
    more = f" and {len(sessions) - 1} more" if len(sessions) > 1 else ""
    return f"{sessions[0]}{more}"
