"""A client for a few statements: simple queries, answered as text, on a plain socket.

A driver costs 150 ms to import and is nothing that envctl needs otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from types import TracebackType
from typing import TypeAlias

from envctl.kinds.postgres.protocol import wire
from envctl.kinds.postgres.protocol.login import ServerError, log_in
from envctl.model import Connection
from envctl.ready.stream import Garbled, Stream

_MOST_BYTES = 16 * 1024**2

Row: TypeAlias = "tuple[str | None, ...]"


class Client:
    """A session, logged in; for use with `with`.

    Args:
        connection: Where, as whom, and in which database.
        limit_s: How long the login, and then each query, may take, in seconds.

    Attributes:
        version: The server's major version, 0 where it does not tell.
        proven: Whether the server has proven that it knows the password.

    Raises:
        ServerError: The login was refused.
        Garbled: Another protocol is spoken there.
        OSError: No connection; TimeoutError after `limit_s`.
    """

    def __init__(self, connection: Connection, limit_s: float) -> None:
        self._limit_s = limit_s
        self._stream = Stream(connection.host, connection.port or 0, monotonic() + limit_s)
        try:
            version, self.proven = log_in(self._stream, connection)
        except BaseException:
            self._stream.__exit__(None, None, None)
            raise
        digits = version[: len(version) - len(version.lstrip("0123456789"))]
        self.version = int(digits or "0")

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._stream:
            self._stream.grant(1.0)
            self._stream.say_goodbye(wire.TERMINATE)

    def rows(self, sql: str, *texts: str) -> list[Row]:
        """Run one or more statements; all their rows, as text.

        Args:
            sql: The statements.
            texts: Stand for each `%s` in it.

        Raises:
            ServerError: A statement failed; statements before it in the same `sql` were rolled back with it.
            Garbled, OSError: The session has ended; TimeoutError when it took too long.
        """
        self._stream.grant(self._limit_s)
        self._stream.send(wire.query(sql % tuple(map(literal, texts)) if texts else sql))
        found: list[Row] = []
        failure: ServerError | None = None
        while (message := self._next(failure))[0] != b"Z":
            kind, body = message
            if kind == b"D":
                found.append(
                    tuple(None if one is None else one.decode("utf-8", "replace") for one in wire.values(body))
                )
            elif kind == b"E":
                failure = failure or ServerError(body)
            elif kind in b"GHW":
                raise Garbled("the answer to a query is a copy of data")
        if failure:
            raise failure
        return found

    def execute(self, sql: bytes) -> str:
        """Run statements whose rows nobody wants.

        Args:
            sql: One or more, in the session's encoding, without a zero byte.

        Returns:
            Where the session stands afterwards: "I" between transactions, "T" in one, "E" in one that has failed.

        Raises:
            ServerError: A statement failed; its `done` tells how many were done before it.
            Garbled, OSError: The session has ended; TimeoutError when it took too long.
        """
        self._stream.grant(self._limit_s)
        self._stream.send(wire.query(sql))
        return self._finish()

    def copy_in(self, sql: bytes, pieces: Iterable[bytes]) -> str:
        """Run one `COPY … FROM STDIN`.

        Args:
            sql: The statement.
            pieces: What is copied, some 64 kB at a time. Where an error of their own ends them, so does the session.

        Returns:
            As `execute`.

        Raises:
            ServerError: It failed; the rest of the pieces is not asked for.
            Garbled, OSError: The session has ended; TimeoutError when the server took too long with one piece.
        """
        self._stream.grant(self._limit_s)
        self._stream.send(wire.query(sql))
        while (message := self._next(None))[0] != b"G":
            if message[0] in b"EZ":
                return self._finish(message)
        for piece in pieces:
            self._stream.grant(self._limit_s)
            self._stream.send(wire.copy_data(piece))
            while self._stream.has_input():
                if (message := self._next(None))[0] == b"E":
                    return self._finish(message)
        self._stream.send(wire.COPY_DONE)
        return self._finish()

    def _finish(self, first: tuple[bytes, bytes] | None = None) -> str:
        """Read until the server waits for us again; the first message may have been read already."""
        done, failure = 0, None
        kind, body = first or self._next(None)
        while kind != b"Z":
            if kind == b"C":
                done += 1
            elif kind == b"E":
                failure = failure or ServerError(body, done)
            elif kind == b"G":
                self._stream.send(wire.copy_fail("there is nothing to copy here"))
            kind, body = self._next(failure)
        if failure:
            raise failure
        return body.decode("ascii", "replace")

    def _next(self, failure: ServerError | None) -> tuple[bytes, bytes]:
        """The next message. A server that closes after an error has said why with it."""
        try:
            return wire.receive(self._stream, _MOST_BYTES)
        except OSError:
            if failure:
                raise failure from None
            raise


def identifier(name: str) -> str:
    """A name as it stands in a statement."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as it stands in a statement, whatever standard_conforming_strings is."""
    quoted = text.replace("'", "''")
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in text else f"'{quoted}'"
