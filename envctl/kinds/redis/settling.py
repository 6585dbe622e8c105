"""Has Redis write all its keys to `dump.rdb` in its data folder, and tells what of it has aged when it is used later.

A key with a TTL stands in the file with the moment of its end, not with the time it has. A server that is started from
the file a week later has lost it, or has it for too short a time. So after a start from prepared data, `has_aged` says
whether `baseline.reset` must put back what the baseline holds: the keys with the whole TTL they had when it was taken.
The baseline itself is in the same file, so what it is kept in must have no TTL.
"""

from __future__ import annotations

import re

from envctl.errors import DataFailed
from envctl.host import clock
from envctl.kinds.redis import client
from envctl.kinds.redis.protocol.link import settings_for
from envctl.model import Connection

_LIMIT_S = 600.0  # millions of keys, on a slow disk
_PAUSE_S = 0.05
_BUSY = "in progress"  # "Background save already in progress": somebody's BGSAVE

_COUNTS = re.compile(r"\b(expires|subexpiry|keys_with_volatile_items|rdb_last_load_keys_expired)[=:](\d+)")


def settle(connection: Connection) -> None:
    """Have all keys written to the data folder. See above for what that means for those with a TTL.

    Args:
        connection: The service.

    Raises:
        DataFailed: The server did not.
    """
    latest_s = clock.monotonic_s() + _LIMIT_S
    while isinstance(refusal := _ask(connection, "SAVE"), client.ReplyError):
        if _BUSY not in str(refusal) or clock.monotonic_s() > latest_s:
            raise _failed(connection, f"it says: {refusal}")
        clock.sleep_s(_PAUSE_S)


def has_aged(connection: Connection) -> bool:
    """Whether a server that was just started from settled data has, or has lost, keys that only live for a time.

    Args:
        connection: The service.

    Raises:
        DataFailed: The server does not answer.
    """
    answers = [_ask(connection, "INFO", section) for section in ("keyspace", "persistence")]
    text = "\n".join(answer.decode(errors="replace") for answer in answers if isinstance(answer, bytes))
    counts = _COUNTS.findall(text)
    # An old server does not tell what it dropped.
    return any(int(count) for _, count in counts) or "rdb_last_load_keys_expired" not in dict(counts)


def _ask(connection: Connection, *words: str) -> client.Reply:
    try:
        link = client.Connection(settings_for(connection), _LIMIT_S)
        try:
            return link.ask(words)
        finally:
            link.close()
    except client.ReplyError as refusal:
        raise _failed(connection, f"it says: {refusal}") from None
    except (OSError, ValueError) as error:
        raise _failed(connection, f"the connection failed: {error or type(error).__name__}") from None


def _failed(connection: Connection, cause: str) -> DataFailed:
    fix = [f"envctl logs {connection.service}"]
    message = f'cannot write the data of service "{connection.service}" to its folder'
    return DataFailed(message, cause=cause, fix=fix, subject={"service": connection.service})
