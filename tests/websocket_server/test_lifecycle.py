"""The process: start, health, readiness, metrics, stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .conftest import StartServer
from .peers import Server, peer
from .services import PASSWORD, Postgres, Valkey

pytestmark = pytest.mark.asyncio


async def test_sigterm_closes_clients_with_1001_and_exits_with_0(
    start_server: StartServer, postgres: Postgres, valkey: Valkey, channel: str
) -> None:
    """On SIGTERM all clients are closed with 1001, and the process ends with 0."""
    server = start_server(postgres.environment, valkey.environment)
    await server.ready()
    async with peer(server) as one, peer(server) as two:
        await one.subscribe(channel)
        server.process.send_signal(signal.SIGTERM)
        assert await one.closed() == 1001
        assert await two.closed() == 1001
    assert server.ended() == 0
    assert server.events("stopped")


async def test_queued_messages_are_sent_before_the_end(start_server: StartServer, channel: str) -> None:
    """A client that reads late still gets all that was queued for it when the server was told to stop, then 1001."""
    server = start_server({"DRAIN_TIMEOUT_S": "60", "MAX_QUEUE": "1000"})
    async with peer(server, max_queue=None) as late, peer(server) as publisher:
        await late.subscribe(channel)
        late.connection.transport.pause_reading()
        for number in range(300):  # far more than the buffers of a connection hold
            await publisher.publish(channel, [number, "x" * 60_000])
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("draining")
        late.connection.transport.resume_reading()
        assert [(await late.receive())["data"][0] for _ in range(300)] == list(range(300))
        assert await late.closed() == 1001
    assert server.ended() == 0


async def test_client_in_the_middle_of_many_requests_is_closed_as_cleanly(start_server: StartServer) -> None:
    """The close handshake succeeds at once although requests of the client are still under way before its own part."""
    server = start_server({"DRAIN_TIMEOUT_S": "60"})
    async with peer(server, max_queue=None) as client:

        async def send_many() -> None:
            with contextlib.suppress(ConnectionClosed):
                for number in range(5_000):
                    await client.send(type="ping", id=number)

        sending = asyncio.create_task(send_many())
        await client.receive()
        server.process.send_signal(signal.SIGTERM)
        assert await client.closed() == 1001
        await sending
    assert server.ended() == 0
    assert not server.events("drain_timeout")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_idle_server_stops_at_once(start_server: StartServer, number: signal.Signals) -> None:
    """Without clients both signals end the server cleanly."""
    server = start_server()
    await server.ready()
    server.process.send_signal(number)
    assert server.ended() == 0


async def test_draining_server_is_not_ready_takes_no_clients_and_cuts_stubborn_ones(
    start_server: StartServer,
) -> None:
    """While it drains the server answers 503 to readiness and handshakes; after DRAIN_TIMEOUT_S it ends anyway."""
    server = start_server({"DRAIN_TIMEOUT_S": "0.8"})
    async with peer(server) as stubborn:
        await stubborn.ask("ping")
        stubborn.connection.transport.pause_reading()
        server.process.send_signal(signal.SIGTERM)
        document = await server.ready(status=503)
        assert (document["status"], document["draining"]) == ("not_ready", True)
        assert (await server.get("/healthz")).status == 200
        with pytest.raises(InvalidStatus, match="503"):
            async with connect(server.url(), proxy=None):
                pass
        assert await asyncio.to_thread(server.ended) == 0
        assert server.events("drain_timeout", clients=1)
        stubborn.connection.transport.abort()


async def test_second_signal_ends_at_once(start_server: StartServer) -> None:
    """A second signal does not wait for stubborn clients."""
    server = start_server({"DRAIN_TIMEOUT_S": "600"})
    async with peer(server) as stubborn:
        await stubborn.ask("ping")
        stubborn.connection.transport.pause_reading()
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("draining")
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.ended) == 128 + signal.SIGTERM
        stubborn.connection.transport.abort()


async def test_signal_during_start_ends_cleanly(start_server: StartServer, valkey: Valkey) -> None:
    """A SIGTERM as soon as the server listens, while its drivers are still being imported, ends it with 0."""
    server = start_server(valkey.environment)
    server.wait_for("listening")
    assert server.terminate() == 0


async def test_readiness_tells_about_each_dependency(
    start_server: StartServer, postgres: Postgres, valkey: Valkey
) -> None:
    """/readyz names state, time, attempts and latency of each dependency, and no secret."""
    server = start_server(postgres.environment, valkey.environment)
    document = await server.ready()
    assert (document["status"], document["draining"], list(document)[-1]) == ("ready", False, "dependencies")
    for status in document["dependencies"].values():
        assert set(status) == {"state", "since", "attempts", "last_error", "latency_ms"}
        assert (status["state"], status["last_error"]) == ("connected", None)
        assert status["attempts"] >= 1
        assert 0 < status["latency_ms"] < 1000
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", status["since"])
    answer = await server.get("/readyz")
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("application/json", "no-store")
    assert PASSWORD not in answer.body


async def test_crowd_of_readiness_checks_is_answered(server: Server) -> None:
    """Many simultaneous readiness checks are all answered, sharing round trips."""
    await server.ready()
    answers = await asyncio.gather(*(server.get("/readyz") for _ in range(50)))
    assert {answer.status for answer in answers} == {200}


async def test_http_endpoints_need_no_token_and_only_answer_get(server: Server) -> None:
    """The endpoints are open; HEAD has no body; other methods are refused."""
    await server.ready()
    for path in ("/healthz", "/readyz", "/metrics", "/healthz?x=1"):
        assert (await server.get(path)).status == 200
    head = await server.get("/metrics", method="HEAD")
    assert (head.status, head.body) == (200, "")
    assert (await server.get("/healthz", method="POST")).status == 405


async def test_metrics_page_is_valid_and_counts(start_server: StartServer, valkey: Valkey, channel: str) -> None:
    """The page follows the text format 0.0.4, and the numbers follow what happens."""
    server = start_server(valkey.environment)
    await server.ready()
    async with peer(server) as one, peer(server) as two:
        await one.subscribe(channel)
        await two.publish(channel, 1)
        await one.receive()
        await two.send(type="nonsense")
        await two.receive()
        page = await server.get("/metrics")
        assert page.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert_valid_exposition(page.body)
        for sample, value in {
            "envctl_ws_clients": 2,
            "envctl_ws_subscriptions": 1,
            "envctl_ws_messages_received_total": 3,
            "envctl_ws_publish_seconds_count": 1,
            'envctl_ws_publish_seconds_bucket{le="+Inf"}': 1,
            'envctl_ws_dependency_up{dependency="redis"}': 1,
            'envctl_ws_errors_total{code="bad_message"}': 1,
        }.items():
            assert await server.metric(sample) == value, sample
        await server.metric_reaches("envctl_ws_messages_sent_total", 4)
    await server.metric_reaches("envctl_ws_clients", 0)
    await server.metric_reaches("envctl_ws_subscriptions", 0)


def assert_valid_exposition(page: str) -> None:
    """Every line is a comment or a sample, and each sample belongs to the type declared above it."""
    declared: dict[str, str] = {}
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.removeprefix("# TYPE ").split(" ")
            assert name not in declared
            declared[name] = kind
        elif not line.startswith("# HELP "):
            match = re.fullmatch(r'([a-z_]+)(\{[a-z]+="[^"\n]*"\})? ([0-9.e+-]+|\+Inf)', line)
            assert match, line
            base = re.sub(r"_(bucket|sum|count)$", "", match[1])
            assert declared.get(match[1]) in ("counter", "gauge") or declared.get(base) == "histogram", line
    assert page.endswith("\n")
    assert "counter" in declared.values()


async def test_settings_errors_are_all_told_at_once(start_server: StartServer, tmp_path: Path) -> None:
    """Wrong settings end the process with 78 and one line for each, naming its variable and no secret."""
    missing = tmp_path / "missing"
    server = start_server(
        {"WS_TOKEN": "", "WS_TOKEN_FILE": str(missing), "PORT": "many", "MAX_QUEUE": "0"},
        {"REDIS_URL": "http://user:hunter2@nowhere"},
    )
    assert server.ended() == 78
    assert [line.split(": ")[1] for line in server.lines] == ["REDIS_URL", "WS_TOKEN_FILE", "PORT", "MAX_QUEUE"]
    assert "hunter2" not in "".join(server.lines)


async def test_port_in_use_is_told(start_server: StartServer) -> None:
    """A port that is taken ends the process with 71 and one line that names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start_server({"PORT": str(port)})
        assert server.ended() == 71
    assert re.fullmatch(rf"wsserver: HOST, PORT: cannot listen on 127.0.0.1:{port}: .*\n", server.lines[-1])


async def test_secrets_come_from_files_and_urls(
    start_server: StartServer, postgres: Postgres, valkey: Valkey, tmp_path: Path
) -> None:
    """The token and passwords work from files, beside URLs that hold none."""
    for name, secret in {"token": "from-a-file", "password": PASSWORD}.items():
        (tmp_path / name).write_text(secret + "\n")
    server = start_server(
        {"WS_TOKEN": "", "WS_TOKEN_FILE": str(tmp_path / "token")},
        {"DATABASE_URL": f"postgresql://app@127.0.0.1:{postgres.port}/postgres"},
        {"PGPASSWORD_FILE": str(tmp_path / "password"), "REDIS_PASSWORD_FILE": str(tmp_path / "password")},
        {"REDIS_URL": f"redis://127.0.0.1:{valkey.port}/2"},
    )
    await server.ready()
    async with peer(server, token="from-a-file") as client:
        assert (await client.ask("ping"))["type"] == "pong"


async def test_log_lines_are_json_objects(start_server: StartServer) -> None:
    """Every line of the log is one JSON object with time, level and event."""
    server = start_server()
    async with peer(server) as client:
        await client.ask("ping")
    server.wait_for("client_gone", code=1000)
    assert server.terminate() == 0
    names = [json.loads(line)["event"] for line in server.lines]
    assert names == ["listening", "client_connected", "client_gone", "stopping", "draining", "stopped"]
    assert all({"time", "level", "event"} <= set(json.loads(line)) for line in server.lines)
