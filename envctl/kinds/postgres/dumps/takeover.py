"""A database that was restored takes the place of the environment's own; whoever is connected to that is sent away.

Both renames are one transaction of the server, so that the name is never without a database.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from envctl.errors import DataFailed
from envctl.host import clock
from envctl.kinds.postgres.data import own_name
from envctl.kinds.postgres.protocol.asking import asking, beside
from envctl.kinds.postgres.protocol.client import Client, identifier
from envctl.kinds.postgres.protocol.login import ServerError
from envctl.model import Connection

_LIMIT_S = 120.0
_LOOK_AGAIN_S, _LEAVE_S = 0.005, 10.0


def new_name(base: Connection) -> str:
    """Name of the database that is to take the place."""
    return own_name(base.database or "", "_envctl_restore")


def old_name(base: Connection) -> str:
    """Name of the database that had the place."""
    return own_name(base.database or "", "_envctl_old")


@contextmanager
def maintenance(base: Connection, aim: str, limit_s: float = _LIMIT_S) -> Iterator[Client]:
    """A session beside the environment's database, in which nobody else exchanges it. Raises DataFailed."""
    with asking(base, aim), Client(beside(base), limit_s) as session:
        session.rows("SELECT pg_advisory_lock(hashtextextended('envctl swap ' || %s, 0))", base.database or "")
        yield session


def take_over(base: Connection) -> None:
    """Have the new database become the environment's own.

    Raises:
        DataFailed: It could not; the environment's own is as it was.
    """
    own, new, old = (identifier(name) for name in (base.database or "", new_name(base), old_name(base)))
    with maintenance(base, f'put another database in the place of "{base.database}"') as session:
        session.rows(f"DROP DATABASE IF EXISTS {old} WITH (FORCE)")
        if not _exists(session, base.database or ""):
            session.rows(f"ALTER DATABASE {new} RENAME TO {own}")
            return
        _roll_back_prepared(session, base)
        # Else clients that connect again at once would be in the way.
        session.rows(f"ALTER DATABASE {own} WITH ALLOW_CONNECTIONS false")
        try:
            _send_away(session, base.database or "")
            session.rows(f"ALTER DATABASE {own} RENAME TO {old}; ALTER DATABASE {new} RENAME TO {own}")
        except BaseException:
            with suppress(ServerError, OSError, DataFailed):
                _let_in(base)
            raise
        with suppress(ServerError):  # something holds it, such as a replication slot: the next one tries again
            session.rows(f"DROP DATABASE {old} WITH (FORCE)")


def recover(base: Connection) -> None:
    """Put right what a process has left that was killed while it restored a database.

    Raises:
        DataFailed: It could not be put right.
    """
    own, new, old = (identifier(name) for name in (base.database or "", new_name(base), old_name(base)))
    with maintenance(base, f'put database "{base.database}" right') as session:
        if not _exists(session, base.database or "") and _exists(session, old_name(base)):
            session.rows(f"ALTER DATABASE {old} RENAME TO {own}")
        session.rows(f"DROP DATABASE IF EXISTS {new} WITH (FORCE)")
        with suppress(ServerError):  # as above
            session.rows(f"DROP DATABASE IF EXISTS {old} WITH (FORCE)")
        closed = "SELECT 1 FROM pg_database WHERE datname = %s AND NOT datallowconn"
        if session.rows(closed, base.database or ""):
            session.rows(f"ALTER DATABASE {own} WITH ALLOW_CONNECTIONS true")


def _let_in(base: Connection) -> None:
    """In a session of its own: the other one may be gone."""
    with asking(base, "let clients in again"), Client(beside(base), _LEAVE_S) as session:
        session.rows(f"ALTER DATABASE {identifier(base.database or '')} WITH ALLOW_CONNECTIONS true")


def _exists(session: Client, name: str) -> bool:
    return bool(session.rows("SELECT 1 FROM pg_database WHERE datname = %s", name))


def _send_away(session: Client, name: str) -> None:
    """End the sessions of a database, and wait until they have ended: Postgres would look only ten times a second."""
    until_s = clock.monotonic_s() + _LEAVE_S
    sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    while session.rows(sql, name) and clock.monotonic_s() < until_s:
        clock.sleep_s(_LOOK_AGAIN_S)


def _roll_back_prepared(session: Client, base: Connection) -> None:
    """What tests have prepared for a second phase keeps a database from being renamed, and is replaced anyway."""
    found = session.rows("SELECT gid FROM pg_prepared_xacts WHERE database = %s", base.database or "")
    if found:
        with Client(base, _LIMIT_S) as inner:
            for (gid,) in found:
                inner.rows("ROLLBACK PREPARED %s", gid or "")
