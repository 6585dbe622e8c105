"""The template way back: a copy of the baseline, made ahead, takes the place of a database.

What is left over by one that is killed are databases with names of their own, which the next one finds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from envctl.kinds.postgres.data import Databases, own_name
from envctl.kinds.postgres.databases.exchange import exchange, exists
from envctl.kinds.postgres.protocol.asking import LIMIT_S, asking, beside
from envctl.kinds.postgres.protocol.client import Client, identifier
from envctl.model import Connection


def baseline_name(database: str) -> str:
    """The sealed template that holds a database's baseline."""
    return own_name(database, "_baseline")


def names_of(database: str) -> tuple[str, str, str]:
    """Databases that belong to one: the spare, ready to take its place; one in the making; one that was replaced."""
    return own_name(database, "_spare1"), own_name(database, "_spare0"), own_name(database, "_old")


def is_there(connection: Connection, name: str) -> bool:
    """Whether a server has a database. Raises DataFailed."""
    return name in Databases(connection).names(name)


def make_spare(connection: Connection, template: str, chosen: str = "") -> None:
    """Have a copy of the template ready, and nothing left over of earlier swaps.

    Args:
        connection: The database whose place it is to take.
        template: A sealed one.
        chosen: Why resets are to go by copies from now on; written down in each.

    Raises:
        DataFailed: It could not be made.
    """
    with _alone(connection) as client:
        _clear(client, connection)
        _make_spare(client, connection, template, chosen)


def swap(connection: Connection, template: str, chosen: str = "", *, tidy: bool = True) -> None:
    """Put a copy of the template in the place of a database; whoever is connected to that is sent away.

    Args:
        connection: The database.
        template: A sealed one.
        chosen: As for `make_spare`.
        tidy: Whether the database that was there is removed now, and not by the next call.

    Raises:
        DataFailed: It could not be done; the database is as it was.
    """
    name = connection.database or ""
    spare, _, old = names_of(name)
    with _alone(connection) as client:
        _clear(client, connection)
        _make_spare(client, connection, template, chosen)
        exchange(client, name, spare, old)
        if tidy:
            _clear(client, connection)


def drop_all(connection: Connection, *more: str) -> None:
    """Remove what belongs to a database, and more of the same server. Raises DataFailed."""
    Databases(connection).drop(*names_of(connection.database or ""), *more)


@contextmanager
def _alone(connection: Connection) -> Iterator[Client]:
    """A session beside a database, in which nobody else swaps it."""
    aim = f'put a copy of the baseline in the place of database "{connection.database}"'
    with asking(connection, aim), Client(beside(connection), LIMIT_S) as client:
        client.rows("SELECT pg_advisory_lock(hashtextextended('envctl swap ' || %s, 0))", connection.database or "")
        yield client


def _clear(client: Client, connection: Connection) -> None:
    for name in names_of(connection.database or "")[1:]:
        if exists(client, name):
            client.rows(f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")


def _make_spare(client: Client, connection: Connection, template: str, chosen: str) -> None:
    spare, unfinished, _ = names_of(connection.database or "")
    if not exists(client, spare):
        databases = Databases(connection, LIMIT_S)
        made = databases.clone(template, unfinished)
        if chosen:
            with Client(made, LIMIT_S) as inside:
                inside.rows("UPDATE envctl.meta SET strategy = 'template', why = %s", chosen)
        databases.rename(unfinished, spare)
