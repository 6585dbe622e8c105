"""POST /reset: a clean slate between tests."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlencode

import pytest

from envctl.errors import DataFailed, ForeignServer
from envctl.kinds.websocket import baseline, proof
from envctl.model import Connection

from .conftest import StartServer
from .peers import TOKEN, Server, peer
from .services import Valkey

pytestmark = pytest.mark.asyncio

OWN = f"/reset?{urlencode({'token': TOKEN})}"


def connection(server: Server, token: str = TOKEN) -> Connection:
    """The server as envctl hands it out."""
    return Connection("ws", "websocket", "127.0.0.1", server.port, server.url(token), password=token, path="/ws")


async def test_all_sessions_are_closed(start_server: StartServer, valkey: Valkey, channel: str) -> None:
    """After a reset nobody is connected and no channel is subscribed to, here or in Redis."""
    server = start_server(valkey.environment)
    await server.ready()
    async with peer(server) as one, peer(server) as two:
        await one.subscribe(channel, channel + " 2")
        await two.subscribe(channel)
        answer = await server.get(OWN, "POST")
        assert (answer.status, json.loads(answer.body)) == (200, {"sessions": 2, "subscriptions": 3})
        assert await server.metric("envctl_ws_clients") == 0
        assert b"$" + str(len("envctl:ws:0:" + channel)).encode() not in valkey.ask("PUBSUB", "CHANNELS")
        assert (await one.closed(), await two.closed()) == (1012, 1012)
    async with peer(server) as again:
        assert await again.publish(channel, 1) == 0


async def test_what_was_queued_is_dropped(start_server: StartServer, channel: str) -> None:
    """A client that does not read is cut off in time, and the rest of its messages with it."""
    server = start_server({"DRAIN_TIMEOUT_S": "60"})
    async with peer(server, max_queue=None) as late, peer(server) as publisher:
        await late.subscribe(channel)
        late.connection.transport.pause_reading()
        for number in range(200):
            await publisher.publish(channel, [number, "x" * 60_000])
        async with asyncio.timeout(5):
            assert (await server.get(OWN, "POST")).status == 200
        assert await server.metric("envctl_ws_clients") == 0
        late.connection.transport.abort()


async def test_two_resets_at_once(start_server: StartServer) -> None:
    """Resets at the same time, and clients that come and go meanwhile, do each other no harm."""
    server = start_server()

    async def come_and_go() -> None:
        for _ in range(20):
            async with peer(server) as client:
                await client.closed()

    clients = [asyncio.create_task(come_and_go()) for _ in range(3)]
    while not all(client.done() for client in clients):
        answers = await asyncio.gather(*(server.get(OWN, "POST") for _ in range(3)))
        assert {answer.status for answer in answers} == {200}
    await asyncio.gather(*clients)
    assert not server.events("client_failed")


async def test_only_with_the_token(server: Server) -> None:
    """Without the token nothing is closed, and a GET closes nothing with it."""
    async with peer(server) as client:
        for path in ("/reset", "/reset?token=wrong"):
            assert {(await server.get(path, method)).status for method in ("GET", "POST", "PUT")} == {401}
        assert json.loads((await server.get(OWN)).body) == {"resets": "sessions"}
        assert (await server.get(OWN, "PUT")).status == 405
        assert (await client.ask("ping"))["type"] == "pong"


@pytest.mark.provokes("FOREIGN_SERVER")
async def test_envctl_resets_its_own(start_server: StartServer) -> None:
    """A reset proves that the server is the environment's and tells how many sessions it closed; others are left."""
    server = start_server()
    mine, other = connection(server), connection(server, "another")
    async with peer(server) as client:
        for refused in (proof.prove, baseline.reset):
            with pytest.raises(ForeignServer):
                await asyncio.to_thread(refused, other)
        await asyncio.to_thread(proof.prove, mine)
        assert (await client.ask("ping"))["type"] == "pong"
        report = await asyncio.to_thread(baseline.Resetter(mine).reset)
        assert (report.service, report.strategy, report.changed, report.note) == ("ws", "sessions", 1, "")
        assert await client.closed() == 1012


async def test_a_server_of_ones_own(start_server: StartServer, valkey: Valkey) -> None:
    """A user's own server is reset where it answers as the bundled one does, and else left alone, with a word of it."""
    server = start_server()
    own = Connection("ws", "websocket", "127.0.0.1", server.port, server.url(None), password=TOKEN, path="/ws")
    async with peer(server):
        report = await asyncio.to_thread(baseline.reset, own)
        assert (report.changed, report.note) == (1, "")
    silent = Connection("ws", "websocket", "127.0.0.1", valkey.port, "ws://127.0.0.1/ws", password=TOKEN)
    await asyncio.to_thread(proof.prove, silent)
    report = await asyncio.to_thread(baseline.reset, silent)
    assert (report.changed, report.note) == (0, "not the bundled server: nothing was reset")


async def test_a_server_that_is_gone(start_server: StartServer) -> None:
    """A server that does not answer ends in an error that says so."""
    server = start_server()
    mine = connection(server)
    server.remove()
    with pytest.raises(DataFailed, match='sessions of service "ws"'):
        await asyncio.to_thread(baseline.reset, mine)
