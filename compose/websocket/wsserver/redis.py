"""Redis: one connection for publishing, subscribing and receiving."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, Self

from redis.asyncio import Connection, SSLConnection
from redis.exceptions import RedisError, ResponseError

from .session import Session, SessionLost
from .settings import RedisSettings


class _Wire(Protocol):
    """What is used of redis-py's connection; it carries no types of its own."""

    async def connect(self) -> None: ...
    async def send_command(self, *args: str | bytes) -> None: ...
    async def read_response(self, *, disconnect_on_error: bool, push_request: bool) -> object: ...
    async def disconnect(self, *, nowait: bool) -> None: ...


class RedisSession(Session):
    """A connection that speaks RESP3, in which messages may arrive between answers.

    redis-py's client and its ``PubSub`` reconnect, retry and subscribe again by themselves; here every loss must be
    seen, because clients are told about it. So its connection is used: answers come in the order of the commands,
    the confirmation of a ``SUBSCRIBE`` being one of them.
    """

    def __init__(self, wire: _Wire, on_message: Callable[[bytes, bytes], None]) -> None:
        super().__init__()
        self._wire, self._on_message = wire, on_message
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, settings: RedisSettings, on_message: Callable[[bytes, bytes], None]) -> Self:
        """Connect, authenticate, choose the database.

        Raises:
            SessionLost: with the reason.
        """
        wire: _Wire = (SSLConnection if settings.tls else Connection)(
            host=settings.host,
            port=settings.port,
            username=settings.username,
            password=settings.password,
            db=settings.db,
            protocol=3,
            driver_info=None,
            socket_timeout=None,
            socket_connect_timeout=None,
        )
        try:
            await wire.connect()
        except BaseException as error:
            await wire.disconnect(nowait=True)
            if isinstance(error, Exception):  # whatever answers on that port may not be a Redis at all
                raise SessionLost(str(error) or type(error).__name__) from error
            raise
        return cls(wire, on_message)

    async def command(self, *args: str | bytes) -> object:
        """Send a command and wait for its answer.

        Raises:
            SessionLost: if there is none, or if it is an error.
        """
        answer = self._expect()
        try:
            await self._wire.send_command(*args)
        except (RedisError, OSError) as error:
            self.lose(str(error))
        return await answer

    async def round_trip(self) -> None:
        """``PING`` on the very connection that receives messages."""
        await self.command("PING")

    async def close(self) -> None:
        """Give the connection up."""
        self.lose("closed")
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._wire.disconnect(nowait=True)

    async def _read(self) -> None:
        try:
            while True:
                await self._read_one()
        except (RedisError, OSError, ValueError) as error:
            self.lose(str(error))

    async def _read_one(self) -> None:
        try:
            response = await self._wire.read_response(disconnect_on_error=False, push_request=True)
        except ResponseError as error:
            self._fail(SessionLost(str(error)))
            return
        match response:
            case [b"message", bytes(channel), bytes(payload)]:
                self._on_message(channel, payload)
            case _:
                self._answer(response)
