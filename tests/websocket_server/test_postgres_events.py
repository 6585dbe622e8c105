"""Events from Postgres: NOTIFY envctl_events."""

from __future__ import annotations

import json

import pytest

from .peers import Peer, Server, peer
from .services import Postgres

pytestmark = pytest.mark.asyncio

Replicas = tuple[Server, Server]


async def received_until(client: Peer, end: object) -> list[object]:
    """The data of all messages up to and including this one."""
    seen: list[object] = []
    while end not in seen:
        seen.append((await client.receive())["data"])
    return seen


async def test_notification_reaches_every_subscriber_exactly_once(
    replicas: Replicas, postgres: Postgres, channel: str
) -> None:
    """One NOTIFY gives one message to each subscriber of its channel on each replica."""
    for server in replicas:
        await server.ready()
    async with peer(replicas[0]) as a, peer(replicas[0]) as b, peer(replicas[1]) as c:
        clients = (a, b, c)
        for client in clients:
            await client.subscribe(channel)
        for number in range(10):
            postgres.notify(json.dumps({"channel": channel, "data": {"number": number}}))
        postgres.notify(json.dumps({"channel": channel, "data": "last"}))
        expected = [*({"number": number} for number in range(10)), "last"]
        for client in clients:
            assert await received_until(client, "last") == expected
        # Had a replica passed an event on through Redis as well, it would arrive before this message.
        await a.publish(channel, "end 0")
        await c.publish(channel, "end 1")
        for client in clients:
            assert await received_until(client, "end 1") == ["end 0", "end 1"]


async def test_message_says_that_it_comes_from_postgres(server: Server, postgres: Postgres, channel: str) -> None:
    """An event carries its source and the data as the database sent it."""
    await server.ready()
    async with peer(server) as client:
        await client.subscribe(channel)
        postgres.notify(json.dumps({"channel": channel, "data": ["ä", None]}))
        message = await client.receive()
    assert (message["type"], message["source"], message["data"]) == ("message", "postgres", ["ä", None])


@pytest.mark.parametrize(
    "payload",
    ["", "not json", "[]", "{}", '{"channel": "c"}', '{"channel": 1, "data": 1}', '{"channel": "c", "data": 1e999}'],
)
async def test_invalid_notification_is_counted_and_survived(
    server: Server, postgres: Postgres, channel: str, payload: str
) -> None:
    """A payload that is no event is counted and logged without its content; later events still arrive."""
    await server.ready()
    before = await server.metric("envctl_ws_notify_invalid_total")
    async with peer(server) as client:
        await client.subscribe(channel)
        postgres.notify(payload)
        postgres.notify(json.dumps({"channel": channel, "data": "next"}))
        assert (await client.receive())["data"] == "next"
    assert await server.metric("envctl_ws_notify_invalid_total") == before + 1
    assert server.wait_for("notify_invalid", size_bytes=len(payload))


async def test_readiness_checks_between_events_lose_none(server: Server, postgres: Postgres, channel: str) -> None:
    """Events that arrive while /readyz asks Postgres on the same connection are all delivered, in order."""
    await server.ready()
    async with peer(server) as client:
        await client.subscribe(channel)
        with postgres.connect() as connection:
            for number in range(200):
                payload = json.dumps({"channel": channel, "data": number})
                connection.execute("SELECT pg_notify('envctl_events', %s)", (payload,))
                if number % 4 == 0:
                    assert (await server.get("/readyz")).status == 200
        assert await received_until(client, 199) == list(range(200))
