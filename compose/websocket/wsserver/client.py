"""One connected client: how messages reach it, and how it is closed."""

from __future__ import annotations

import asyncio
import itertools

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from .instruments import Instruments
from .logs import event
from .outbox import Outbox, OutboxClosed

GOING_AWAY = 1001
SERVICE_RESTART = 1012
"""The close code of a reset: the client may connect again at once."""

SLOW_CONSUMER = 4008
"""The close code for a client that reads more slowly than messages arrive for it."""

SEND_TIMEOUT_S = 10.0
"""How long one message may wait for room in the connection's buffers."""

SLOW_CLOSE_TIMEOUT_S = 2.0
"""How long a slow client has to read up to the close frame before the connection is cut."""

RESET_CLOSE_TIMEOUT_S = 0.5
"""How long a client has to answer the close frame of a reset before the connection is cut."""

_numbers = itertools.count(1)


class Client:
    """A connection with a writer of its own, so that nobody waits for a slow reader."""

    def __init__(self, connection: ServerConnection, max_queue: int, instruments: Instruments) -> None:
        self.number = next(_numbers)
        self.channels: set[str] = set()
        self._connection = connection
        self._outbox = Outbox(max_queue)
        self._instruments = instruments
        self._leaving = False
        self._gone = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._writer = asyncio.create_task(self._write())

    def offer(self, frame: bytes) -> bool:
        """Queue a message. If there is no room, close this client rather than lose the message silently."""
        if self._leaving:
            return False
        taken = self._outbox.offer(frame)
        if not taken:
            self._drop("its queue is full")
        return taken

    async def reply(self, frame: bytes) -> None:
        """Queue an answer. If there is no room, wait: meanwhile no further request of this client is read.

        Raises:
            OutboxClosed: if the client is being closed.
        """
        if self._leaving:
            raise OutboxClosed
        await self._outbox.put(frame)

    async def go_away(self) -> None:
        """Send what is queued, and nothing that comes after it, then close with 1001."""
        self._leaving = True
        await self._outbox.flushed()
        await self._connection.close(GOING_AWAY, "server is going away")

    async def reset(self) -> None:
        """Drop what is queued, close with 1012, and return when nothing of this client is left."""
        self._leaving = True
        self._outbox.close()
        try:
            async with asyncio.timeout(RESET_CLOSE_TIMEOUT_S):
                await self._connection.close(SERVICE_RESTART, "reset")
        except TimeoutError:
            self._connection.transport.abort()
        await self._gone.wait()

    def gone(self) -> None:
        """Everything this client had asked for is undone."""
        self._gone.set()

    async def ended(self) -> None:
        """Clean up, after the connection is closed."""
        self._outbox.close()
        self._writer.cancel()
        tasks = [self._writer, self._closing] if self._closing else [self._writer]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self) -> None:
        try:
            while True:
                frame = await self._outbox.take()
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await self._connection.send(frame, text=True)
                self._instruments.sent.add()
        except TimeoutError:
            self._drop(f"nothing could be sent for {SEND_TIMEOUT_S:g} s")
        except (ConnectionClosed, OutboxClosed):
            self._outbox.close()

    def _drop(self, reason: str) -> None:
        if self._closing is None:
            self._instruments.slow_clients.add()
            event("client_too_slow", client=self.number, reason=reason)
            self._outbox.close()
            self._closing = asyncio.create_task(self._close_slow())

    async def _close_slow(self) -> None:
        # close() itself waits for room in the write buffer, which a client that does not read never makes.
        try:
            async with asyncio.timeout(SLOW_CLOSE_TIMEOUT_S):
                await self._connection.close(SLOW_CONSUMER, "slow consumer")
        except TimeoutError:
            self._connection.transport.abort()
