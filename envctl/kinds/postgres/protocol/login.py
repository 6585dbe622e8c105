"""Logging in: from the startup message to the first ReadyForQuery."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from envctl.kinds.postgres.protocol import wire
from envctl.model import Connection
from envctl.ready.stream import Garbled, Stream

if TYPE_CHECKING:
    from envctl.kinds.postgres.protocol.scram import Scram

_OK, _CLEARTEXT, _MD5, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 5, 10, 11, 12


class ServerError(Exception):
    """The server answered with an error.

    Attributes:
        code: Its SQLSTATE, or "".
        text: Its message.
        more: Its detail and hint, where it has them.
        fields: All it said, by the letters of the protocol: P is the position in the query, W the context.
        done: How many statements of the query were done before.
    """

    def __init__(self, body: bytes, done: int = 0) -> None:
        fields = self.fields = wire.error_fields(body)
        self.done = done
        self.code, self.text = fields.get("C", ""), fields.get("M", "an error without a message")
        self.more = tuple(fields[letter] for letter in "DH" if letter in fields)
        super().__init__(self.text)


class LoggedIn(NamedTuple):
    """What a login has shown.

    Attributes:
        version: The server's.
        proven: Whether the server has proven that it knows the password: with SCRAM, not with older ways.
    """

    version: str
    proven: bool


def log_in(stream: Stream, connection: Connection) -> LoggedIn:
    """Log in with the connection's user, password and database.

    With SCRAM (the default of every supported server) the server must prove that it knows the password as well.

    Raises:
        ServerError: It refused.
        Garbled: It speaks another protocol, or did not prove itself.
        OSError: The connection ended, or took too long.
    """
    return _Login(stream, connection).run()


class _Login:
    """The conversation from the startup message to the first ReadyForQuery."""

    def __init__(self, stream: Stream, connection: Connection) -> None:
        self._stream = stream
        self._user = connection.user or "postgres"
        self._database = connection.database or self._user
        self._password = connection.password or ""
        self._scram: Scram | None = None
        self._proven = True  # that the server knows the password; false from the start of a SCRAM exchange to its end
        self._let_in = False

    def run(self) -> LoggedIn:
        self._stream.send(wire.startup(self._user, self._database))
        version = "?"
        while True:
            kind, body = wire.receive(self._stream)
            if kind == b"R":
                self._authenticate(int.from_bytes(body[:4], "big"), body[4:])
            elif kind == b"S" and body.startswith(b"server_version\0"):
                version = body[15:].split(b"\0")[0].decode("ascii", "replace").split(" ")[0][:20]
            elif kind == b"E":
                raise ServerError(body)
            elif kind == b"Z":
                break
        if not self._let_in:
            raise Garbled("Postgres did not authenticate us")
        return LoggedIn(version, self._scram is not None and self._proven)

    def _authenticate(self, request: int, data: bytes) -> None:
        if request == _OK:
            if not self._proven:
                raise Garbled("the server did not prove that it knows the password")
            self._let_in = True
        elif request == _CLEARTEXT:
            self._stream.send(wire.password(self._password.encode()))
        elif request == _MD5:
            self._stream.send(wire.password(_md5(self._password, self._user, data[:4])))
        elif request in {_SASL, _SASL_CONTINUE, _SASL_FINAL}:
            self._sasl(request, data)
        else:
            raise Garbled(f"Postgres asks for authentication method {request}")

    def _sasl(self, request: int, data: bytes) -> None:
        from envctl.kinds.postgres.protocol import scram

        try:
            if request == _SASL:
                if scram.MECHANISM not in data.split(b"\0"):
                    raise Garbled("Postgres offers no SCRAM-SHA-256")
                self._scram, self._proven = scram.Scram(self._password, os.urandom(18).hex().encode()), False
                self._stream.send(wire.sasl_initial(scram.MECHANISM, self._scram.first()))
            elif self._scram is None:
                raise Garbled("Postgres continues what was not begun")
            elif request == _SASL_CONTINUE:
                self._stream.send(wire.sasl_response(self._scram.final(data)))
            else:
                self._scram.check(data)
                self._proven = True
        except scram.Refused as refused:
            raise Garbled(str(refused)) from None


def _md5(password: str, user: str, salt: bytes) -> bytes:
    from hashlib import md5

    inner = md5((password + user).encode(), usedforsecurity=False).hexdigest().encode()
    return b"md5" + md5(inner + salt, usedforsecurity=False).hexdigest().encode()
