"""A database that was restored takes the place of the environment's own; whoever is connected to that is sent away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from envctl.host.signals import shielded
from envctl.kinds.postgres.data import own_name
from envctl.kinds.postgres.databases.exchange import exchange, exists
from envctl.kinds.postgres.protocol.asking import asking, beside
from envctl.kinds.postgres.protocol.client import Client, identifier
from envctl.kinds.postgres.protocol.login import ServerError
from envctl.model import Connection

_LIMIT_S = 120.0


def new_name(base: Connection) -> str:
    """Name of the database that is to take the place."""
    return own_name(base.database or "", "_envctl_restore")


def old_name(base: Connection) -> str:
    """Name of the database that had the place."""
    return own_name(base.database or "", "_envctl_old")


@contextmanager
def maintenance(base: Connection, aim: str, limit_s: float = _LIMIT_S) -> Iterator[Client]:
    """A session beside the environment's database, in which nobody else exchanges it. Raises DataFailed.

    A signal waits until it has ended. Raised just before, it would leave the session open for as long as the exception
    is known, and with it the lock, for which what then cleans up waits.
    """
    with shielded(), asking(base, aim), Client(beside(base), limit_s) as session:
        session.rows("SELECT pg_advisory_lock(hashtextextended('envctl swap ' || %s, 0))", base.database or "")
        yield session


def take_over(base: Connection) -> None:
    """Have the new database become the environment's own.

    Raises:
        DataFailed: It could not; the environment's own is as it was.
    """
    own, new, old = base.database or "", new_name(base), old_name(base)
    with maintenance(base, f'put another database in the place of "{own}"') as session:
        session.rows(f"DROP DATABASE IF EXISTS {identifier(old)} WITH (FORCE)")
        _roll_back_prepared(session, base)
        exchange(session, own, new, old)
        with suppress(ServerError):  # something holds it, such as a replication slot: the next one tries again
            session.rows(f"DROP DATABASE IF EXISTS {identifier(old)} WITH (FORCE)")


def recover(base: Connection) -> None:
    """Put right what a process has left that was killed while it restored a database.

    Raises:
        DataFailed: It could not be put right.
    """
    own, new, old = (identifier(name) for name in (base.database or "", new_name(base), old_name(base)))
    with maintenance(base, f'put database "{base.database}" right') as session:
        if not exists(session, base.database or "") and exists(session, old_name(base)):
            session.rows(f"ALTER DATABASE {old} RENAME TO {own}")
        session.rows(f"DROP DATABASE IF EXISTS {new} WITH (FORCE)")
        with suppress(ServerError):  # as above
            session.rows(f"DROP DATABASE IF EXISTS {old} WITH (FORCE)")
        closed = "SELECT 1 FROM pg_database WHERE datname = %s AND NOT datallowconn"
        if session.rows(closed, base.database or ""):
            session.rows(f"ALTER DATABASE {own} WITH ALLOW_CONNECTIONS true")


def _roll_back_prepared(session: Client, base: Connection) -> None:
    """What tests have prepared for a second phase keeps a database from being renamed, and is replaced anyway."""
    found = session.rows("SELECT gid FROM pg_prepared_xacts WHERE database = %s", base.database or "")
    if found:
        with Client(base, _LIMIT_S) as inner:
            for (gid,) in found:
                inner.rows("ROLLBACK PREPARED %s", gid or "")
