"""The fastest way back, for one connection: everything happens in a transaction that is rolled back.

It fits tests whose code uses the very connection it is given, and never commits. What other connections do is not
undone, and they do not see what is done in it; sequences go on counting, as they do after every ROLLBACK; whoever
listens hears nothing. Code that begins and ends its transactions with savepoints works as it is: psycopg's
`connection.transaction()`, SQLAlchemy's `join_transaction_mode="create_savepoint"`, Django's `atomic`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from envctl.errors import DataFailed


class DatabaseConnection(Protocol):
    """As much of the Python DB-API (PEP 249) as is needed."""

    def cursor(self) -> Any:
        """A cursor."""
        ...

    def commit(self) -> Any:
        """End the transaction."""
        ...

    def rollback(self) -> Any:
        """Undo the transaction."""
        ...


AnyConnection = TypeVar("AnyConnection", bound=DatabaseConnection)


@contextmanager
def rolled_back(connection: AnyConnection) -> Iterator[AnyConnection]:
    """Undo at the end whatever is done on a connection of any driver (psycopg, psycopg2, pg8000).

    What the connection was doing before is committed first.

    Args:
        connection: One to PostgreSQL.

    Yields:
        The same connection.

    Raises:
        DataFailed: At the end: the code inside has committed, so it could not be undone.
    """
    connection.commit()
    autocommit = getattr(connection, "autocommit", None)
    if autocommit:
        _set_autocommit(connection, on=False)
    try:
        xid = _ask(connection, "SELECT pg_current_xact_id()::text")
        yield connection
    finally:
        connection.rollback()
        if autocommit:
            _set_autocommit(connection, on=True)
    status = _ask(connection, f"SELECT pg_xact_status('{int(xid)}'::xid8)")
    if not autocommit:
        connection.rollback()
    if status == "committed":
        raise DataFailed(
            "what was done in a transaction could not be undone",
            cause="the code inside has committed it",
            fix=["use a reset for such tests (`clean_postgres`), or a database of its own (`fresh_postgres`)"],
            state="what was committed is still there",
        )


def _set_autocommit(connection: object, *, on: bool) -> None:
    setattr(connection, "autocommit", on)  # noqa: B010 - no part of the DB-API, but of each driver


def _ask(connection: DatabaseConnection, sql: str) -> str:
    cursor = connection.cursor()
    try:
        cursor.execute(sql)
        return str(cursor.fetchone()[0])
    finally:
        cursor.close()
