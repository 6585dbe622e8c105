"""What the bundled WebSocket server answers at /reset to whoever has its token: a GET proves it, a POST resets it.

A user's own server may answer the same way; then it is reset too.
"""

from __future__ import annotations

import os
from typing import NamedTuple
from urllib.parse import urlsplit

from envctl.errors import DataFailed, ForeignServer
from envctl.host import clock
from envctl.model import Connection
from envctl.ready.http import request
from envctl.ready.stream import Stream

PATH = "/reset"

_LIMIT_S = 10.0
_MOST_BYTES = 64 * 1024


class Answer(NamedTuple):
    """An answer: its status, and its content where that is a JSON object."""

    status: int
    content: dict[str, object]


def is_bundled(connection: Connection) -> bool:
    """Whether it is the bundled server: the URL of that carries the token."""
    return bool(connection.password) and "token=" in urlsplit(connection.url).query


def ask(connection: Connection, method: str, token: str | None = None) -> Answer:
    """One request with the server's token, or another one.

    Raises:
        DataFailed: It does not answer, or in another protocol.
    """
    offered = connection.password if token is None else token
    headers = {"Authorization": f"Bearer {offered}", "Content-Length": "0", "Connection": "close"}
    try:
        with Stream(connection.host, connection.port or 0, clock.monotonic_s() + _LIMIT_S) as stream:
            status, _ = request(stream, connection.host, connection.port or 0, PATH, headers, method)
            return Answer(status, _object(stream.rest(_MOST_BYTES)))
    except TimeoutError:
        cause = f"it did not answer within {_LIMIT_S:g} s"
    except (OSError, ValueError) as error:
        cause = f"the connection failed: {error or type(error).__name__}"
    raise failed(connection, cause)


def _object(body: bytes) -> dict[str, object]:
    import json

    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def is_proven(connection: Connection) -> bool:
    """Whether the server accepts the environment's token, and no other.

    Raises:
        DataFailed: It does not answer.
    """
    mine = ask(connection, "GET")
    if mine.status != 200 or "resets" not in mine.content:
        return False
    return ask(connection, "GET", os.urandom(16).hex()).status == 401


def failed(connection: Connection, cause: str) -> DataFailed:
    """The error where it cannot be reset."""
    return DataFailed(
        f'cannot close the sessions of service "{connection.service}"',
        cause=cause,
        fix=["envctl up starts it again, if it has ended", f"envctl logs {connection.service}"],
        subject={"service": connection.service},
    )


def foreign(connection: Connection, cause: str) -> ForeignServer:
    """The error where it is somebody else's."""
    where = f"{connection.host}:{connection.port}"
    return ForeignServer(
        f'the WebSocket server at {where} is not service "{connection.service}" of this environment',
        cause=cause,
        fix=["envctl status shows what runs where", "envctl up starts the environment's own again"],
        subject={"service": connection.service, "host": connection.host, "port": connection.port},
        state="nothing was changed",
    )
