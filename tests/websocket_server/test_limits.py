"""Limits: message size, subscriptions, and clients that do not read."""

from __future__ import annotations

import asyncio
import json

import pytest

from .conftest import StartServer
from .peers import Peer, Server, peer

pytestmark = pytest.mark.asyncio


async def test_oversized_message_closes_with_1009(start_server: StartServer) -> None:
    """A message above MAX_MESSAGE_BYTES closes its sender with 1009; one of exactly that size is handled."""
    server = start_server({"MAX_MESSAGE_BYTES": "1000"})
    frame = json.dumps({"type": "publish", "channel": "c", "data": ""})
    padding = "x" * (1000 - len(frame))
    async with peer(server) as client, peer(server) as bystander:
        assert (await client.ask("ping"))["type"] == "pong"
        await client.send(type="publish", channel="c", data=padding)
        assert (await client.receive())["type"] == "published"
        await client.send(type="publish", channel="c", data=padding + "x")
        assert await client.closed() == 1009
        assert (await bystander.ask("ping"))["type"] == "pong"


async def test_subscriptions_are_limited(start_server: StartServer) -> None:
    """One subscription too many is refused with too_many_subscriptions, and possible after an unsubscribe."""
    server = start_server({"MAX_SUBSCRIPTIONS": "2"})
    async with peer(server) as client:
        await client.subscribe("a", "b", "a")
        answer = await client.ask("subscribe", channel="c")
        assert (answer["type"], answer["code"], answer["retryable"]) == ("error", "too_many_subscriptions", False)
        await client.ask("unsubscribe", channel="a")
        await client.subscribe("c")


async def flood(server: Server, channel: str, publisher: Peer) -> None:
    """Publish large messages until the server has closed a slow client."""
    async with asyncio.timeout(20):
        while not server.events("client_too_slow"):
            await publisher.publish(channel, "x" * 60_000)


async def test_slow_client_is_closed_with_4008_and_others_are_not_affected(
    start_server: StartServer, channel: str
) -> None:
    """A subscriber that does not read is closed with 4008; one that reads receives everything."""
    server = start_server({"MAX_QUEUE": "20"})
    async with (
        peer(server, max_queue=1, max_size=None) as slow,
        peer(server, max_queue=None, max_size=None) as fast,
        peer(server) as publisher,
    ):
        await slow.subscribe(channel)
        await fast.subscribe(channel)
        await flood(server, channel, publisher)
        await publisher.publish(channel, "end")
        assert server.events("client_too_slow", reason="its queue is full")
        assert await slow.closed() == 4008
        received = 0
        while (await fast.receive())["data"] != "end":
            received += 1
        assert received > 20
        assert await server.metric("envctl_ws_slow_clients_closed_total") == 1
        await server.metric_reaches("envctl_ws_clients", 2)


async def test_slow_client_that_never_reads_again_is_cut(start_server: StartServer, channel: str) -> None:
    """A slow client that does not even read the close frame is gone soon, and frees its place."""
    server = start_server({"MAX_QUEUE": "20"})
    async with peer(server, max_queue=1) as slow, peer(server) as publisher:
        await slow.subscribe(channel)
        slow.connection.transport.pause_reading()
        await flood(server, channel, publisher)
        await server.metric_reaches("envctl_ws_clients", 1)
        slow.connection.transport.abort()


async def test_client_that_sends_without_reading_is_slowed_down_not_lost(start_server: StartServer) -> None:
    """Requests sent faster than their answers are read wait their turn; none is lost and nobody is closed."""
    server = start_server({"MAX_QUEUE": "2"})
    async with peer(server, max_queue=1) as client:

        async def send() -> None:
            for number in range(3000):
                await client.send(type="ping", id=number)

        sending = asyncio.create_task(send())
        answers = [(await client.receive())["id"] for _ in range(3000)]
        await sending
    assert answers == list(range(3000))
    assert server.events("client_too_slow") == []
