"""Postgres: a connection that listens for events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from .session import Session, SessionLost
from .settings import PostgresSettings

CHANNEL = "envctl_events"
"""The channel of ``NOTIFY`` on which events are expected."""

OPTIONS: dict[str, str | int] = {
    "application_name": "wsserver",
    "client_encoding": "utf8",
    # The kernel notices a dead peer by itself within about 15 s, also while nothing is being sent.
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
}
ANSWERS = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)


class PostgresSession(Session):
    """A listening connection.

    psycopg's ``notifies()`` occupies the connection, so nothing could prove meanwhile that it is alive. Therefore,
    once connected, its libpq layer is used: one reader takes notifications and answers as they arrive.
    """

    def __init__(self, connection: psycopg.AsyncConnection[object], on_event: Callable[[bytes], None]) -> None:
        super().__init__()
        self._connection, self._on_event = connection, on_event
        self._pgconn = connection.pgconn
        self._socket = connection.fileno()
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    @classmethod
    async def connect(cls, settings: PostgresSettings, on_event: Callable[[bytes], None]) -> Self:
        """Log in and listen.

        Raises:
            SessionLost: with the reason given by libpq or the server.
        """
        try:
            conninfo = make_conninfo(settings.conninfo, **settings.params, **OPTIONS)
            connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
        except psycopg.Error as error:
            raise SessionLost(str(error)) from error
        session = cls(connection, on_event)
        try:
            await session._query(f"LISTEN {CHANNEL}")
        except BaseException:
            await session.close()
            raise
        return session

    async def round_trip(self) -> None:
        """Run ``SELECT 1`` on the very connection that listens."""
        await self._query("SELECT 1")

    async def close(self) -> None:
        """Give the connection up."""
        # Before the socket is closed: its number may belong to the next connection a moment later.
        asyncio.get_running_loop().remove_reader(self._socket)
        self.lose("closed")
        await self._connection.close()

    async def _query(self, sql: str) -> None:
        answer = self._expect()
        try:
            self._pgconn.send_query(sql.encode())
            self._pgconn.flush()
        except psycopg.Error as error:
            self.lose(str(error))
        await answer

    def _read(self) -> None:
        """Take everything that has arrived."""
        try:
            self._pgconn.consume_input()
            self._read_answer()
            while notification := self._pgconn.notifies():
                self._on_event(notification.extra)
        except psycopg.Error as error:
            asyncio.get_running_loop().remove_reader(self._socket)
            self.lose(str(error))

    def _read_answer(self) -> None:
        while self._answers and not self._pgconn.is_busy():
            result = self._pgconn.get_result()
            if result is None:
                self._answer(None)
            elif result.status not in ANSWERS:
                self.lose(result.error_message.decode(errors="replace"))
