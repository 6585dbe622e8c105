"""Has PostgreSQL write everything to its data folder, so that the stop that follows takes a moment."""

from __future__ import annotations

from envctl.errors import DataFailed
from envctl.kinds.postgres.protocol.client import Client
from envctl.kinds.postgres.protocol.login import ServerError
from envctl.model import Connection
from envctl.ready.stream import Garbled

_LIMIT_S = 600.0  # gigabytes, on a slow disk


def settle(connection: Connection) -> None:
    """Have everything written to the data folder; it is whole once the server has been stopped in an orderly way.

    Args:
        connection: The service.

    Raises:
        DataFailed: The server did not.
    """
    try:
        with Client(connection, _LIMIT_S) as session:
            session.rows("CHECKPOINT")
    except ServerError as error:
        raise _failed(connection, f"PostgreSQL says: {error.text} ({error.code or 'no code'})", *error.more) from None
    except TimeoutError:
        raise _failed(connection, f"PostgreSQL did not answer within {_LIMIT_S:g} s") from None
    except (OSError, Garbled) as error:
        raise _failed(connection, f"the connection failed: {error or type(error).__name__}") from None


def has_aged(connection: Connection) -> bool:  # noqa: ARG001 - the contract's
    """Never: nothing in PostgreSQL ends by itself."""
    return False


def _failed(connection: Connection, cause: str, *evidence: str) -> DataFailed:
    fix = [f"envctl logs {connection.service}"]
    message = f'cannot write the data of service "{connection.service}" to its folder'
    return DataFailed(message, cause=cause, evidence=evidence, fix=fix, subject={"service": connection.service})
