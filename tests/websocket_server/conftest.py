"""Servers for the tests of the bundled WebSocket server."""

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "compose" / "websocket"))

from .peers import Server
from .services import Postgres, Valkey, make_postgres_template

StartServer = Callable[..., Server]

_channels = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_template() -> Iterator[Path]:
    """A data directory that is copied for each Postgres."""
    folder = Path(tempfile.mkdtemp(prefix="envctl-wsserver-"))
    yield make_postgres_template(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres(postgres_template: Path) -> Iterator[Postgres]:
    """A Postgres for tests that leave it running."""
    server = Postgres(postgres_template)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """A Valkey for tests that leave it running."""
    server = Valkey()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def spare_postgres(postgres_template: Path) -> Iterator[Postgres]:
    """A second Postgres, not started."""
    server = Postgres(postgres_template)
    yield server
    server.remove()


@pytest.fixture(scope="session")
def spare_valkey() -> Iterator[Valkey]:
    """A second Valkey, not started."""
    server = Valkey()
    yield server
    server.remove()


@pytest.fixture
def own_postgres(spare_postgres: Postgres) -> Iterator[Postgres]:
    """A Postgres for this test to start and to break."""
    yield spare_postgres
    spare_postgres.end()


@pytest.fixture
def own_valkey(spare_valkey: Valkey) -> Iterator[Valkey]:
    """A Valkey for this test to start and to break."""
    yield spare_valkey
    spare_valkey.end()


@pytest.fixture(scope="session")
def replicas(postgres: Postgres, valkey: Valkey) -> Iterator[tuple[Server, Server]]:
    """Two servers on the same Postgres and Redis, shared by the tests that do not change them."""
    first, second = (Server(postgres.environment, valkey.environment) for _ in range(2))
    yield first, second
    first.remove()
    second.remove()


@pytest.fixture
def server(replicas: tuple[Server, Server]) -> Server:
    """One of the shared servers."""
    return replicas[0]


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Start a server of this test's own with these variables."""
    servers: list[Server] = []

    def start(*environments: dict[str, str]) -> Server:
        servers.append(Server(*environments))
        return servers[-1]

    yield start
    for server in servers:
        server.remove()


@pytest.fixture
def channel() -> str:
    """A channel that no other test uses."""
    return f"channel {next(_channels)} ü"
