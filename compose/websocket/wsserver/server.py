"""The server: puts the parts together, serves, and goes away in order."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress

from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from . import protocol
from .bus import Bus, LocalBus, RedisBus
from .client import Client
from .commands import Commands
from .endpoints import Endpoints
from .hub import Hub
from .instruments import Instruments
from .link import Link
from .logs import Redactor, event
from .outbox import OutboxClosed
from .session import Session
from .settings import PostgresSettings, RedisSettings, Settings

FAREWELL_S = 0.5
"""How long, after all clients are gone, HTTP connections may still be open when the process ends."""


class CannotListen(Exception):
    """The address is taken, not of this machine, or not allowed."""


class Server:
    """Everything one process serves."""

    def __init__(self, settings: Settings, redact: Redactor) -> None:
        self._settings, self._redact = settings, redact
        self._instruments = Instruments()
        self._hub = Hub(self._instruments)
        self._links: dict[str, Link | None] = {
            "postgres": self._postgres_link(settings.postgres) if settings.postgres else None,
            "redis": None,
        }
        self._bus: Bus = LocalBus(self._hub.deliver)
        if settings.redis:
            self._bus, self._links["redis"] = self._redis_bus(settings.redis)
        self._commands = Commands(self._hub, self._bus, settings.limits, self._instruments)
        self._endpoints = Endpoints(
            settings, self._links, self._instruments, lambda: len(self._hub.clients), self._reset
        )
        self._instruments.watch(
            clients=lambda: {"": len(self._hub.clients)},
            subscriptions=lambda: {"": self._hub.subscription_count},
            dependency_up=lambda: {name: link.connected for name, link in self._links.items() if link},
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set, then go away in order.

        Raises:
            CannotListen: if the address cannot be had.
        """
        listener = await self._listen()
        links = [asyncio.create_task(link.run()) for link in self._links.values() if link]
        stopped = asyncio.create_task(stop.wait())
        try:
            # A link never ends by itself: if one does, it is a bug, and better seen than survived.
            await asyncio.wait([stopped, *links], return_when=asyncio.FIRST_COMPLETED)
            await self._drain(listener)
            for link in links:
                if link.done():
                    link.result()
        finally:
            for task in (stopped, *links):
                task.cancel()
            await asyncio.gather(stopped, *links, return_exceptions=True)

    async def _listen(self) -> WebSocketServer:
        settings = self._settings
        try:
            listener = await serve(
                self._serve_client,
                settings.host,
                settings.port,
                process_request=self._endpoints.decide,
                max_size=settings.limits.message_bytes,
                close_timeout=settings.drain_timeout_s,
                server_header=None,
                compression=None,  # costs more than it saves on the short way between a test and its server
            )
        except OSError as error:
            raise CannotListen(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from error
        host, port = listener.sockets[0].getsockname()[:2]
        event("listening", host=host, port=port, path=settings.path, pid=os.getpid())
        return listener

    async def _serve_client(self, connection: ServerConnection) -> None:
        client = Client(connection, self._settings.limits.queue, self._instruments)
        self._hub.attach(client)
        event("client_connected", client=client.number)
        try:
            await self._converse(connection, client)
        except Exception as error:
            event("client_failed", level=logging.ERROR, client=client.number, exc_info=error)
            raise
        finally:
            await self._commands.goodbye(client)
            await client.ended()
            client.gone()
            event("client_gone", client=client.number, code=connection.close_code)

    async def _converse(self, connection: ServerConnection, client: Client) -> None:
        """Answer until the connection is closed."""
        with suppress(ConnectionClosed):
            try:
                async for raw in connection:
                    await client.reply(await self._commands.answer(client, raw))
            except OutboxClosed:
                # It is being closed. Its own close frame comes behind all that it has sent already.
                async for _ in connection:
                    pass

    async def _reset(self) -> dict[str, int]:
        """Close all sessions there are now, with all their subscriptions; return how many of both there were."""
        clients = list(self._hub.clients)
        counts = {"sessions": len(clients), "subscriptions": self._hub.subscription_count}
        event("reset", clients=len(clients))
        for client in clients:
            self._hub.detach(client)  # at once: what is sent from now on reaches none of them
        await asyncio.gather(*(client.reset() for client in clients))
        return counts

    async def _drain(self, listener: WebSocketServer) -> None:
        """Close all clients while HTTP still answers, so that whoever asks learns "not ready" and not "refused"."""
        self._endpoints.draining = True
        clients = list(self._hub.clients)
        event("draining", clients=len(clients))
        try:
            async with asyncio.timeout(self._settings.drain_timeout_s):
                await asyncio.gather(*(client.go_away() for client in clients))
        except TimeoutError:
            event("drain_timeout", level=logging.WARNING, clients=len(self._hub.clients))
        listener.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await listener.wait_closed()
        event("stopped")

    def _postgres_link(self, settings: PostgresSettings) -> Link:
        async def connect() -> Session:
            from .postgres import PostgresSession

            return await PostgresSession.connect(settings, self._on_notification)

        return self._link("postgres", connect)

    def _redis_bus(self, settings: RedisSettings) -> tuple[RedisBus, Link]:
        def on_foreign() -> None:
            self._instruments.dropped.add(label="foreign")

        bus = RedisBus(settings, self._settings.channel_prefix, self._hub.deliver, on_foreign)
        return bus, self._link("redis", bus.connect)

    def _link(self, name: str, connect: Callable[[], Awaitable[Session]]) -> Link:
        return Link(
            name,
            connect,
            driver=f"{__package__}.{name}",
            on_connected=lambda: self._hub.resync(name),
            instruments=self._instruments,
            redact=self._redact,
        )

    def _on_notification(self, payload: bytes) -> None:
        """Deliver a Postgres event here only: every replica listens itself."""
        try:
            channel, data = protocol.parse_notification(payload)
            self._hub.deliver(channel, protocol.message(channel, data, "postgres"))
        except ValueError as error:
            self._instruments.notify_invalid.add()
            event("notify_invalid", level=logging.WARNING, reason=str(error), size_bytes=len(payload))
