"""One try of the Postgres handshake: log in with this environment's password and run `SELECT 1`.

Written on plain sockets, because a driver costs more to import than the whole handshake takes.
"""

from __future__ import annotations

from envctl.kinds.postgres.protocol import wire
from envctl.kinds.postgres.protocol.login import ServerError, log_in
from envctl.model import Attempt, Connection
from envctl.ready.answers import PASSWORD_REFUSED, not_yet, ready
from envctl.ready.stream import Stream, converse


def attempt(connection: Connection, limit_s: float) -> Attempt:
    """Log in and run `SELECT 1` within `limit_s` seconds.

    With SCRAM (the default of every supported server) the server must prove that it knows the password as well.
    """
    return converse(connection.host, connection.port or 0, limit_s, lambda stream: _talk(stream, connection))


def _talk(stream: Stream, connection: Connection) -> Attempt:
    try:
        version = log_in(stream, connection).version
        answer = _select_one(stream)
    except ServerError as error:
        return _refusal(error, connection)
    if answer != [b"1"]:
        return not_yet(f"SELECT 1 returned {answer!r}")
    stream.say_goodbye(wire.TERMINATE)
    return ready(f"PostgreSQL {version} answered SELECT 1")


def _select_one(stream: Stream) -> list[bytes | None]:
    stream.send(wire.query("SELECT 1"))
    answer: list[bytes | None] = []
    while True:
        kind, body = wire.receive(stream)
        if kind == b"E":
            raise ServerError(body)
        if kind == b"D":
            answer = wire.values(body)
        elif kind == b"Z":
            return answer


def _refusal(error: ServerError, connection: Connection) -> Attempt:
    # None of these is final. "Starting up" passes by itself; a database is created late by an initialisation script;
    # a server started on prepared data may get this environment's password only after its start. How long a refused
    # password is borne is the wait's decision (envctl.ready.patience).
    if error.code == "28P01":
        return not_yet(
            f"{PASSWORD_REFUSED}: another server answers on this port, or the volume holds an older password"
        )
    if error.code == "3D000":
        return not_yet(f'database "{connection.database}" does not exist yet')
    if error.code == "57P03":
        return not_yet(error.text)  # "the database system is starting up"
    return not_yet(f"Postgres refuses: {error.text} ({error.code or 'no code'})")
