"""Outages: Redis or Postgres killed, frozen, late or refusing, and what clients notice of it."""

from __future__ import annotations

import asyncio
import json

import pytest

from .conftest import StartServer
from .peers import Peer, Server, peer
from .services import PASSWORD, Postgres, Process, Valkey

pytestmark = pytest.mark.asyncio


def start_all(*services: Process) -> None:
    for service in services:
        service.start()


async def assert_unavailable(client: Peer, channel: str) -> None:
    for kind, fields in (("publish", {"data": 1}), ("subscribe", {})):
        answer = await client.ask(kind, channel=channel, **fields)
        assert (answer["type"], answer["code"], answer["retryable"]) == ("error", "unavailable", True)


async def assert_down(server: Server, dependency: str) -> dict[str, object]:
    document = await server.ready(status=503)
    status = dict(document["dependencies"][dependency])
    assert (document["status"], status["state"]) == ("not_ready", "connecting")
    return status


async def test_redis_killed_and_restarted(start_server: StartServer, own_valkey: Valkey, channel: str) -> None:
    """While Redis is gone a publish is refused as unavailable; afterwards subscribers hear of it and receive again."""
    own_valkey.start()
    servers = [start_server(own_valkey.environment) for _ in range(2)]
    for server in servers:
        await server.ready()
    async with peer(servers[0]) as subscriber, peer(servers[1]) as publisher:
        await subscriber.subscribe(channel, f"{channel} other")
        own_valkey.end()
        for server in servers:
            assert "no answer" not in str((await assert_down(server, "redis"))["last_error"])  # noticed at once
        await assert_unavailable(publisher, f"{channel} new")
        assert (await subscriber.ask("ping"))["type"] == "pong"
        own_valkey.start()
        for server in servers:
            await server.ready()
        notices = [await subscriber.receive() for _ in range(2)]
        assert sorted(notice["channel"] for notice in notices) == [channel, f"{channel} other"]
        assert all((notice["type"], notice["reason"]) == ("resync", "redis") for notice in notices)
        assert await publisher.publish(channel, "again") == 1
        assert (await subscriber.receive())["data"] == "again"
        assert await servers[0].metric('envctl_ws_reconnects_total{dependency="redis"}') == 1


async def test_subscription_ended_during_an_outage_stays_ended(
    start_server: StartServer, own_valkey: Valkey, channel: str
) -> None:
    """Unsubscribing works without Redis, and the subscription does not come back with it."""
    own_valkey.start()
    server = start_server(own_valkey.environment)
    await server.ready()
    async with peer(server) as client:
        await client.subscribe(channel)
        own_valkey.end()
        await assert_down(server, "redis")
        assert (await client.ask("unsubscribe", channel=channel))["type"] == "unsubscribed"
        own_valkey.start()
        await server.ready()
        assert await client.publish(channel, 1) == 0


async def test_postgres_killed_and_restarted(start_server: StartServer, own_postgres: Postgres, channel: str) -> None:
    """While Postgres is gone channels work on; afterwards subscribers hear of it and receive events again."""
    own_postgres.start()
    server = start_server(own_postgres.environment)
    await server.ready()
    async with peer(server) as client:
        await client.subscribe(channel)
        own_postgres.end()
        status = await assert_down(server, "postgres")
        assert status["last_error"]
        await client.publish(channel, "meanwhile")
        assert (await client.receive())["data"] == "meanwhile"
        own_postgres.start()
        await server.ready()
        notice = await client.receive()
        assert notice == {"type": "resync", "channel": channel, "reason": "postgres"}
        own_postgres.notify(json.dumps({"channel": channel, "data": "again"}))
        assert (await client.receive())["data"] == "again"
        assert await server.metric('envctl_ws_reconnects_total{dependency="postgres"}') == 1


async def test_server_starts_before_its_dependencies_exist(
    start_server: StartServer, own_postgres: Postgres, own_valkey: Valkey, channel: str
) -> None:
    """A server alone is alive and not ready, tries again and again, and is ready soon after its dependencies are."""
    server = start_server(own_postgres.environment, own_valkey.environment)
    assert (await server.get("/healthz")).status == 200
    async with peer(server) as client:
        await assert_unavailable(client, channel)
        async for answer in server.polled("/readyz"):
            dependencies = json.loads(answer.body)["dependencies"]
            if all(status["attempts"] > 3 and status["last_error"] for status in dependencies.values()):
                break
        start_all(own_postgres, own_valkey)
        await server.ready()
        await client.subscribe(channel)
        own_postgres.notify(json.dumps({"channel": channel, "data": "event"}))
        assert (await client.receive())["data"] == "event"


async def test_frozen_dependencies_are_noticed_by_the_readiness_check(
    start_server: StartServer, own_postgres: Postgres, own_valkey: Valkey
) -> None:
    """Dependencies that hang make /readyz 503 in about a second; when they go on, so do their connections."""
    start_all(own_postgres, own_valkey)
    server = start_server(own_postgres.environment, own_valkey.environment)
    await server.ready()
    own_postgres.freeze()
    own_valkey.freeze()
    assert (await assert_down(server, "postgres"))["last_error"] == "no answer in 1 s"
    own_postgres.thaw()  # each as soon as it was missed: after five seconds its connection would be given up
    assert (await assert_down(server, "redis"))["last_error"] == "no answer in 1 s"
    own_valkey.thaw()
    for dependency in ("postgres", "redis"):
        server.wait_for("dependency_answers_again", dependency=dependency)
    await server.ready()


async def test_publish_to_a_frozen_redis_is_refused_in_time(
    start_server: StartServer, own_valkey: Valkey, channel: str
) -> None:
    """A publish that Redis does not confirm within two seconds is answered as unavailable, not left hanging."""
    own_valkey.start()
    server = start_server(own_valkey.environment)
    await server.ready()
    async with peer(server) as client:
        own_valkey.freeze()
        await assert_unavailable(client, channel)
        assert server.events("dependency_unavailable", error="no answer in 2 s")
        own_valkey.thaw()
        await server.ready()
        await client.subscribe(channel)


async def test_subscription_is_not_acknowledged_before_redis_has_confirmed_it(
    start_server: StartServer, own_valkey: Valkey, channel: str
) -> None:
    """While Redis holds its confirmation back, so does the server; other clients are served meanwhile."""
    own_valkey.start()
    server = start_server(own_valkey.environment)
    await server.ready()
    async with peer(server) as client, peer(server) as other:
        own_valkey.freeze()
        await client.send(type="subscribe", channel=channel, id="early")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.receive(), 0.2)
        assert (await other.ask("ping"))["type"] == "pong"
        own_valkey.thaw()
        assert await client.receive() == {"type": "subscribed", "channel": channel, "id": "early"}


async def test_command_that_redis_refuses_is_told_and_disturbs_nothing(
    start_server: StartServer, own_valkey: Valkey
) -> None:
    """A refusal answers the request it belongs to with Redis' reason; requests before and after it are not mixed up."""
    own_valkey.start()
    own_valkey.ask("ACL", "SETUSER", "limited", "on", ">pw", "+@all", "~*", "resetchannels", "&envctl:ws:0:allowed")
    server = start_server({"REDIS_URL": f"redis://limited:pw@127.0.0.1:{own_valkey.port}"})
    await server.ready()
    async with peer(server) as client:
        await client.subscribe("allowed")
        for kind, fields in (("subscribe", {}), ("publish", {"data": 1})):
            answer = await client.ask(kind, channel="forbidden", **fields)
            assert answer["code"] == "unavailable"
            assert answer["message"].startswith("Redis refused: ")
        assert await client.publish("allowed", "fine") == 1
        assert (await client.receive())["data"] == "fine"
    assert server.events("dependency_unavailable") == []


async def test_wrong_password_is_told_without_the_password(
    start_server: StartServer, postgres: Postgres, valkey: Valkey
) -> None:
    """A refused login shows in /readyz and in the log with its reason and without any secret."""
    wrong = "wrong-secret-12345"
    server = start_server(
        {"DATABASE_URL": f"postgresql://app:{wrong}@127.0.0.1:{postgres.port}/postgres"},
        valkey.environment,
        {"REDIS_PASSWORD": wrong},
    )
    async for answer in server.polled("/readyz"):
        dependencies = json.loads(answer.body)["dependencies"]
        if all(status["last_error"] for status in dependencies.values()):
            break
    assert "authentication failed" in dependencies["postgres"]["last_error"]
    assert "invalid username-password" in dependencies["redis"]["last_error"]
    assert server.terminate() == 0
    for secret in (wrong, PASSWORD):
        assert secret not in answer.body + "".join(server.lines)


async def test_something_else_on_the_port_is_survived(start_server: StartServer) -> None:
    """A dependency's address where something else answers leaves the server alive and not ready, with a reason."""

    async def answer_as_a_web_server(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer_as_a_web_server, "127.0.0.1", 0) as elsewhere:
        port = str(elsewhere.sockets[0].getsockname()[1])
        server = start_server({"PGHOST": "127.0.0.1", "PGPORT": port, "REDIS_HOST": "127.0.0.1", "REDIS_PORT": port})
        async for answer in server.polled("/readyz"):
            dependencies = json.loads(answer.body)["dependencies"]
            if all(status["last_error"] and status["attempts"] > 1 for status in dependencies.values()):
                break
        assert (await server.get("/healthz")).status == 200
        assert server.terminate() == 0
