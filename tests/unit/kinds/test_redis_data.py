"""Logical databases of one's own on a real server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import redis as client
from local_server import closed_port

from envctl.errors import DataFailed
from envctl.kinds.redis.data import flush, own_database
from envctl.kinds.redis.protocol import layout
from envctl.model import Connection


def test_only_the_own_database_is_emptied(worker_redis: Connection, redis: Connection) -> None:
    """The URL leads to a database of one's own; emptying it leaves all others as they are."""
    with client.Redis.from_url(worker_redis.url) as mine, client.Redis.from_url(redis.url) as shared:
        mine.set("a", "mine")
        shared.set("a", "shared")

        flush(worker_redis)

        assert (mine.dbsize(), shared.get("a")) == (0, b"shared")


def test_the_environments_own_database_is_nobodys(redis: Connection) -> None:
    """Where the environment itself uses the number that a worker would get, the worker gets database 0."""
    base = replace(redis, database="3")
    assert [own_database(base, number).database for number in (2, 3, 4)] == ["2", "0", "4"]
    assert own_database(base, 3).url.endswith("/0")


def test_a_server_started_by_hand_has_as_many() -> None:
    """The Compose file for use by hand starts a server with as many databases as envctl does."""
    text = (Path(__file__).parents[3] / "compose" / "redis" / "compose.yaml").read_text()
    assert f"--databases {layout.DATABASES} " in text
    assert layout.banked(layout.LIVE - 1) < layout.BASELINE < layout.NOTES < layout.DATABASES


@pytest.mark.provokes("DATA_FAILED")
def test_there_are_127(redis: Connection) -> None:
    """Who needs more databases than a server has is told the way out, before anything is tried."""
    assert own_database(redis, 127).database == "127"
    with pytest.raises(DataFailed) as caught:
        own_database(redis, 128)
    assert "prefix" in " ".join(caught.value.fix)


def test_what_goes_wrong_is_told(redis: Connection) -> None:
    """A server that has fewer databases, refuses the password or is gone: the error says which."""
    wrong = {
        "out of range": {"database": "900"},
        "WRONGPASS": {"password": "other"},
        "refused": {"port": closed_port()},
    }
    for words, changes in wrong.items():
        with pytest.raises(DataFailed) as caught:
            flush(replace(redis, **changes))
        assert words in str(caught.value.cause)
