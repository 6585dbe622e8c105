"""Commands: carries out what a client asks, and answers."""

from __future__ import annotations

import asyncio
import time

from . import protocol
from .bus import Bus, Unavailable
from .client import Client
from .hub import Hub
from .instruments import Instruments
from .protocol import Ping, Publish, Rejected, Request, Subscribe, Unsubscribe
from .settings import Limits


class Commands:
    """The meaning of each request; between the hub, which is this process, and the bus, which is all of them."""

    def __init__(self, hub: Hub, bus: Bus, limits: Limits, instruments: Instruments) -> None:
        self._hub, self._bus, self._limits, self._instruments = hub, bus, limits, instruments

    async def answer(self, client: Client, raw: str | bytes) -> bytes:
        """Carry out one raw message; return the frame to answer with. A bad message is answered, never fatal."""
        self._instruments.received.add()
        try:
            request = protocol.parse(raw)
            try:
                return await self._carry_out(client, request)
            except Unavailable as error:
                raise Rejected("unavailable", str(error), request.id, retryable=True) from error
        except Rejected as rejected:
            self._instruments.errors.add(label=rejected.code)
            return protocol.error(rejected)

    async def goodbye(self, client: Client) -> None:
        """Undo everything a client that is gone had asked for."""
        self._hub.detach(client)
        await asyncio.gather(*(self._bus.leave(channel) for channel in client.channels))

    async def _carry_out(self, client: Client, request: Request) -> bytes:
        match request:
            case Subscribe():
                return await self._subscribe(client, request)
            case Unsubscribe():
                return await self._unsubscribe(client, request)
            case Publish():
                return await self._publish(request)
            case Ping():
                return protocol.reply("pong", request)

    async def _subscribe(self, client: Client, request: Subscribe) -> bytes:
        if request.channel not in client.channels:
            if len(client.channels) >= self._limits.subscriptions:
                text = f"a client may have {self._limits.subscriptions} subscriptions"
                raise Rejected("too_many_subscriptions", text, request.id)
            # Only then acknowledged: whoever publishes after the acknowledgement, on whatever replica, is heard.
            await self._bus.join(request.channel)
            self._hub.subscribe(client, request.channel)
        return protocol.reply("subscribed", request)

    async def _unsubscribe(self, client: Client, request: Unsubscribe) -> bytes:
        if request.channel in client.channels:
            self._hub.unsubscribe(client, request.channel)
            await self._bus.leave(request.channel)
        return protocol.reply("unsubscribed", request)

    async def _publish(self, request: Publish) -> bytes:
        started = time.perf_counter()
        try:
            frame = protocol.message(request.channel, request.data, "client")
        except ValueError as error:
            raise Rejected("bad_message", str(error), request.id) from error
        receivers = await self._bus.publish(request.channel, frame)
        self._instruments.publish_s.observe(time.perf_counter() - started)
        return protocol.reply("published", request, receivers=receivers)
