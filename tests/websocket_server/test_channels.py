"""Clients and channels: subscribe, publish, unsubscribe, within a server and across replicas."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from .conftest import StartServer
from .peers import Server, peer
from .services import Valkey

pytestmark = pytest.mark.asyncio

Replicas = tuple[Server, Server]


async def ready(*servers: Server) -> None:
    await asyncio.gather(*(server.ready() for server in servers))


async def test_published_data_reaches_the_subscriber(server: Server, channel: str) -> None:
    """A subscriber receives what is published, with its channel, source and time."""
    await ready(server)
    data = {"text": "grüße 🙂", "numbers": [1, 2.5, None, True], "nested": {}}
    async with peer(server) as subscriber, peer(server) as publisher:
        assert await subscriber.ask("subscribe", channel=channel) == {"type": "subscribed", "channel": channel, "id": 1}
        answer = await publisher.ask("publish", channel=channel, data=data)
        message = await subscriber.receive()
    assert answer == {"type": "published", "channel": channel, "id": 1, "receivers": 1}
    age = datetime.now(UTC) - datetime.fromisoformat(message.pop("at"))
    assert timedelta() < age < timedelta(seconds=10)
    assert message == {"type": "message", "channel": channel, "data": data, "source": "client"}


async def test_publisher_receives_its_own_message_when_subscribed(server: Server, channel: str) -> None:
    """A client that subscribes to a channel receives what it publishes there itself."""
    await ready(server)
    async with peer(server) as client:
        await client.subscribe(channel)
        await client.publish(channel, 7)
        assert (await client.receive())["data"] == 7


async def test_replicas_share_channels(replicas: Replicas, channel: str) -> None:
    """What is published on one replica reaches the subscribers of every replica once, in order."""
    await ready(*replicas)
    async with peer(replicas[0]) as here, peer(replicas[1]) as there:
        await here.subscribe(channel)
        await there.subscribe(channel)
        counts = [await here.publish(channel, number) for number in range(20)]
        for subscriber in (here, there):
            assert [(await subscriber.receive())["data"] for _ in range(20)] == list(range(20))
    assert set(counts) == {2}


async def test_message_published_right_after_the_acknowledgement_is_never_lost(
    replicas: Replicas, channel: str
) -> None:
    """After `subscribed`, a publish on another replica is delivered, also while others come and go."""
    await ready(*replicas)
    async with peer(replicas[0]) as subscriber, peer(replicas[0]) as fickle, peer(replicas[1]) as publisher:
        for number in range(100):
            churn = asyncio.gather(fickle.ask("subscribe", channel=channel), return_exceptions=True)
            await subscriber.subscribe(channel)
            assert await publisher.publish(channel, number) == 1
            assert (await subscriber.receive())["data"] == number
            await churn
            await asyncio.gather(
                subscriber.ask("unsubscribe", channel=channel), fickle.ask("unsubscribe", channel=channel)
            )


async def test_unsubscribed_client_receives_nothing_more(server: Server, channel: str) -> None:
    """After `unsubscribed` nothing of that channel arrives, and nobody counts as its receiver."""
    await ready(server)
    async with peer(server) as client, peer(server) as publisher:
        await client.subscribe(channel, f"{channel} end")
        answer = await client.ask("unsubscribe", channel=channel)
        assert answer == {"type": "unsubscribed", "channel": channel, "id": 3}
        assert await publisher.publish(channel, "unwanted") == 0
        await publisher.publish(f"{channel} end", "end")
        assert (await client.receive())["data"] == "end"


async def test_client_that_leaves_is_forgotten(server: Server, channel: str) -> None:
    """When a client disconnects its subscriptions end, in Redis too."""
    await ready(server)
    async with peer(server) as publisher:
        async with peer(server) as client:
            await client.subscribe(channel)
            assert await publisher.publish(channel, 1) == 1
        async with asyncio.timeout(10):
            while await publisher.publish(channel, 1):
                pass


async def test_subscribing_twice_delivers_once(server: Server, channel: str) -> None:
    """A repeated subscribe is acknowledged and changes nothing."""
    await ready(server)
    async with peer(server) as client:
        await client.subscribe(channel, channel)
        await client.publish(channel, "first")
        await client.publish(channel, "last")
        assert [(await client.receive())["data"] for _ in range(2)] == ["first", "last"]
        await client.ask("unsubscribe", channel=channel)
        assert await client.publish(channel, "unwanted") == 0


async def test_answers_come_in_the_order_of_the_requests(server: Server, channel: str) -> None:
    """Requests sent without waiting are answered in their order."""
    await ready(server)
    async with peer(server) as client:
        await client.send(type="subscribe", channel=channel, id="a")
        await client.send(type="ping", id="b")
        await client.send(type="unsubscribe", channel=channel, id="c")
        await client.send(type="ping")
        answers = [await client.receive() for _ in range(4)]
    assert [answer.get("id") for answer in answers] == ["a", "b", "c", None]
    assert answers[3] == {"type": "pong"}


async def test_prefixes_keep_environments_apart_on_one_redis(
    start_server: StartServer, valkey: Valkey, channel: str
) -> None:
    """Servers with different CHANNEL_PREFIX, or different database numbers without one, share no channels."""
    by_prefix, by_number, plain = (
        start_server(valkey.environment, {"CHANNEL_PREFIX": "other:"}),
        start_server(valkey.environment, {"REDIS_DB": "3"}),
        start_server(valkey.environment),
    )
    await ready(by_prefix, by_number, plain)
    async with peer(by_prefix) as one, peer(by_number) as two, peer(plain) as three:
        for client in (one, two, three):
            await client.subscribe(channel)
        for client in (one, two, three):
            assert await client.publish(channel, "mine") == 1


async def test_foreign_message_in_redis_is_not_passed_on(server: Server, valkey: Valkey, channel: str) -> None:
    """What other programs publish on the server's Redis channels does not reach clients, and is counted."""
    await ready(server)
    before = await server.metric('envctl_ws_messages_dropped_total{reason="foreign"}')
    async with peer(server) as client:
        await client.subscribe(channel)
        valkey.ask("PUBLISH", f"envctl:ws:0:{channel}", "hello")
        await server.metric_reaches('envctl_ws_messages_dropped_total{reason="foreign"}', before + 1)
        await client.publish(channel, "real")
        assert (await client.receive())["data"] == "real"


async def test_without_redis_channels_are_local(start_server: StartServer, channel: str) -> None:
    """A server without Redis and Postgres is ready and delivers among its own clients."""
    server = start_server()
    document = await server.ready()
    assert document["dependencies"] == {"postgres": {"state": "not_configured"}, "redis": {"state": "not_configured"}}
    async with peer(server) as one, peer(server) as two:
        assert await one.publish(channel, 1) == 0
        await one.subscribe(channel)
        await two.subscribe(channel)
        assert await one.publish(channel, 2) == 1
        assert [(await client.receive())["data"] for client in (one, two)] == [2, 2]
