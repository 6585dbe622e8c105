"""200 tests with real statements on data of their worker's own; they fail where a worker meets another one's."""

import os
from collections.abc import Iterator

import psycopg
import pytest
import redis

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")

Database = psycopg.Connection[tuple[object, ...]]


@pytest.fixture(scope="session")
def database(addresses: tuple[str, str]) -> Iterator[Database]:
    with psycopg.connect(addresses[0], autocommit=True) as connection:
        connection.execute("CREATE TABLE item (worker text NOT NULL, number integer NOT NULL)")
        yield connection


@pytest.fixture(scope="session")
def cache(addresses: tuple[str, str]) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(addresses[1], decode_responses=True) as client:
        yield client


@pytest.fixture(scope="session")
def done() -> list[int]:
    """What this worker has done so far."""
    return []


@pytest.mark.parametrize("number", range(200))
def test_statements(database: Database, cache: redis.Redis, done: list[int], number: int) -> None:
    done.append(number)
    database.execute("INSERT INTO item VALUES (%s, %s)", (WORKER, number))
    assert database.execute("SELECT DISTINCT worker FROM item").fetchall() == [(WORKER,)]
    assert database.execute("SELECT count(*), max(number) FROM item").fetchone() == (len(done), max(done))
    cache.rpush("numbers", number)
    assert cache.lrange("numbers", 0, -1) == [str(one) for one in done]
    assert cache.incr("count") == len(done)
