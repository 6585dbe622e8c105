"""docs/websocket-server.md says what the server does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from wsserver.settings import load

from .conftest import StartServer
from .peers import Server, peer
from .services import Postgres

PAGE = (Path(__file__).parents[2] / "docs" / "websocket-server.md").read_text(encoding="utf-8")


class Recorded(Mapping[str, str]):
    """An environment that notes which variables are looked up."""

    def __init__(self, **given: str) -> None:
        self.given, self.names = given, set[str]()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return self.given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.given)

    def __len__(self) -> int:
        return len(self.given)


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def block(language: str, beginning: str) -> str:
    """The fenced block of this language that begins so."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return next(text for text in blocks if text.startswith(beginning))


def test_every_variable_is_documented_and_exists() -> None:
    """The table of settings names exactly the variables that are read."""
    environments = [
        Recorded(WS_TOKEN="x"),
        Recorded(WS_TOKEN="x", DATABASE_URL="postgresql://h", REDIS_URL="redis://h"),
    ]
    for environment in environments:
        load(environment)
    read = environments[0].names | environments[1].names
    assert set(re.findall(r"`([A-Z][A-Z_]+)`", section("Settings"))) - {"INFO", "DEBUG", "WARNING", "ERROR"} == read


@pytest.mark.asyncio
async def test_documented_requests_get_the_documented_answers(start_server: StartServer) -> None:
    """Each request of the table, sent in its order, gets the answer beside it."""
    rows = re.findall(r"^\| `(\{.*?\})` \| `(\{.*?\})` \|$", section("Messages"), re.MULTILINE)
    assert len(rows) == 4
    server = start_server()
    async with peer(server) as client, peer(server) as listener:
        await listener.subscribe("orders")
        for request, answer in rows:
            await client.connection.send(request)
            assert await client.receive() == json.loads(answer)
        message, documented = await listener.receive(), json.loads(block("json", '{"type": "message"'))
    assert message | {"at": ""} == documented | {"at": ""}


@pytest.mark.asyncio
async def test_documented_trigger_turns_row_changes_into_events(server: Server, postgres: Postgres) -> None:
    """The trigger of the page turns a committed row change into an event, and a rolled back one into none."""
    await server.ready()
    with postgres.connect() as connection:
        connection.execute("CREATE TABLE orders (id int, status text)")
        connection.execute(block("sql", "CREATE FUNCTION").encode())
        async with peer(server) as client:
            await client.subscribe("orders")
            with connection.transaction(force_rollback=True):
                connection.execute("INSERT INTO orders VALUES (1, 'lost')")
            connection.execute("INSERT INTO orders VALUES (2, 'new')")
            assert (await client.receive())["data"] == {"id": 2, "status": "new"}
            connection.execute(block("sql", "NOTIFY").encode())
            assert (await client.receive())["data"] == {"id": 7, "status": "paid"}
        connection.execute("DROP TABLE orders")


def test_documented_readiness_has_the_real_keys() -> None:
    """The example of /readyz is JSON with the keys that the lifecycle tests check on a real server."""
    document = json.loads(block("json", '{"status": "not_ready"'))
    assert list(document) == ["status", "draining", "dependencies"]
    assert set(document["dependencies"]["postgres"]) == {"state", "since", "attempts", "last_error", "latency_ms"}
