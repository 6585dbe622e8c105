"""Proves that a Redis is this environment's own: by its password, and that it takes no other."""

from __future__ import annotations

import os

from envctl.errors import ForeignServer
from envctl.kinds.redis.client import ReplyError
from envctl.kinds.redis.protocol.link import Link, explained
from envctl.model import Connection

_LIMIT_S = 10.0
_AUTH = ("WRONGPASS", "NOAUTH", "ERR AUTH", "ERR Client sent AUTH", "ERR invalid password")


def prove(connection: Connection) -> None:
    """Prove that the server at the address is this environment's own.

    Raises:
        ForeignServer: It is not, or does not prove it.
        DataFailed: It does not answer.
    """
    if not connection.password:
        raise _foreign(connection, "the environment knows no password for it, so nothing proves whose it is")
    with explained(connection, "prove the identity"):
        link = connect(connection, _LIMIT_S)
        try:
            check(link, connection)
        finally:
            link.close()


def connect(connection: Connection, limit_s: float) -> Link:
    """A link to the server.

    Raises:
        ForeignServer: It does not accept the password.
        ReplyError: It says something else.
        OSError: There is none.
    """
    try:
        return Link(connection, limit_s)
    except ReplyError as refusal:
        if str(refusal).startswith(_AUTH):
            raise _foreign(connection, _why(str(refusal))) from None
        raise


def check(link: Link, connection: Connection) -> None:
    """Prove that the server, which has accepted the password, accepts no other.

    Raises:
        ForeignServer: It does.
    """
    try:
        found = link.ask("CONFIG", "GET", "requirepass")
    except ReplyError:  # its CONFIG was taken away
        _refuses_another(link, connection)
        return
    if not isinstance(found, list) or found[1:] != [(connection.password or "").encode()]:
        raise _foreign(connection, "it accepts the environment's password, but that is not the one it was started with")


def _refuses_another(link: Link, connection: Connection) -> None:
    try:
        link.ask("AUTH", os.urandom(16).hex())
    except ReplyError:
        return  # the link stays logged in
    raise _foreign(connection, "it accepts any password")


def _why(refusal: str) -> str:
    return f"it does not accept the environment's password; it says: {refusal}"


def _foreign(connection: Connection, cause: str) -> ForeignServer:
    where = f"{connection.host}:{connection.port}"
    return ForeignServer(
        f'the Redis at {where} is not service "{connection.service}" of this environment',
        cause=cause,
        fix=["envctl status shows what runs where", "envctl up starts the environment's own again"],
        subject={"service": connection.service, "host": connection.host, "port": connection.port},
        state="nothing was changed",
    )
