"""Logical databases of one's own on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from local_server import closed_port
from real_servers import PASSWORD, eventually, running_valkey

from envctl.errors import DataFailed
from envctl.kinds.redis.data import flush, own_database
from envctl.kinds.redis.probe import attempt
from envctl.model import Connection, Verdict


def connection(port: int, database: str = "0", password: str = PASSWORD) -> Connection:
    url = f"redis://:{password}@127.0.0.1:{port}/{database}"
    return Connection("cache", "redis", "127.0.0.1", port, url, password=password, database=database)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = Path(tmp_path_factory.mktemp("valkey"))
    with running_valkey(folder, "--requirepass", PASSWORD, "--databases", "8") as port:
        eventually(lambda: attempt(connection(port), 1.0).verdict is Verdict.READY)
        yield port


def test_only_the_own_database_is_emptied(port: int) -> None:
    """The URL leads to a database of one's own; emptying it leaves all others as they are."""
    own = own_database(connection(port), 3)
    with redis.Redis.from_url(own.url) as mine, redis.Redis.from_url(connection(port).url) as shared:
        mine.set("a", "mine")
        shared.set("a", "shared")

        flush(own)

        assert (own.database, mine.dbsize(), shared.get("a")) == ("3", 0, b"shared")


def test_the_environments_own_database_is_nobodys() -> None:
    """Where the environment itself uses the number that a worker would get, the worker gets database 0."""
    base = connection(1, database="3")
    assert [own_database(base, number).database for number in (2, 3, 4)] == ["2", "0", "4"]
    assert own_database(base, 3).url.endswith("/0")


@pytest.mark.provokes("DATA_FAILED")
def test_there_are_127(port: int) -> None:
    """Who needs more databases than a server has is told the way out, before anything is tried."""
    assert own_database(connection(port), 127).database == "127"
    with pytest.raises(DataFailed) as caught:
        own_database(connection(port), 128)
    assert "prefix" in " ".join(caught.value.fix)


def test_what_goes_wrong_is_told(port: int) -> None:
    """A server that has fewer databases, refuses the password or is gone: the error says which."""
    wrong = {"out of range": connection(port, "9"), "WRONGPASS": connection(port, password="other")}
    wrong["refused"] = connection(closed_port())
    for words, where in wrong.items():
        with pytest.raises(DataFailed) as caught:
            flush(where)
        assert words in str(caught.value.cause)
