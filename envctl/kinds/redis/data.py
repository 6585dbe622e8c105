"""A logical database of Redis for one worker."""

from __future__ import annotations

from dataclasses import replace

from envctl.errors import DataFailed
from envctl.kinds.redis import client
from envctl.kinds.redis.protocol.layout import LIVE
from envctl.kinds.redis.protocol.link import settings_for
from envctl.model import Connection

MOST = LIVE - 1
"""So many databases of their own there are beside the environment's."""

_LIMIT_S = 30.0


def own_database(base: Connection, number: int) -> Connection:
    """The same server, database `number`; in the place of the environment's own, database 0.

    Args:
        base: The environment's own.
        number: From 1 on.

    Raises:
        DataFailed: The server has not so many.
    """
    if number > MOST:
        raise DataFailed(
            f"Redis has no database {number} for this worker",
            cause=f"it has {MOST + 1}, one of them the environment's own",
            fix=[
                "run fewer workers",
                f'or put a prefix before all keys, as "w{number}:", and use the environment\'s own',
            ],
            subject={"service": base.service},
        )
    own = "0" if str(number) == (base.database or "0") else str(number)
    return replace(base, database=own, url=base.url.rsplit("/", 1)[0] + "/" + own)


def begin(connection: Connection) -> Connection:
    """Give a database what the baseline holds: nothing where none was taken. Raises DataFailed."""
    from envctl.kinds.redis import baseline

    baseline.reset(connection)
    return connection


def flush(connection: Connection) -> None:
    """Remove all keys of the connection's database. Raises DataFailed."""
    try:
        link = client.Connection(settings_for(connection, connection.database), _LIMIT_S)
        try:
            answer = link.ask(["FLUSHDB"])
        finally:
            link.close()
        if isinstance(answer, client.ReplyError):
            raise answer
    except client.ReplyError as refusal:
        raise _failed(connection, f"it says: {refusal}") from None
    except (OSError, ValueError) as error:
        raise _failed(connection, f"the connection failed: {error}") from None


def _failed(connection: Connection, cause: str) -> DataFailed:
    subject = {"service": connection.service, "database": connection.database}
    return DataFailed(f"cannot empty database {connection.database} of Redis", cause=cause, subject=subject)
