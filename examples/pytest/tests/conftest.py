import psycopg
import pytest
import redis
from orders.news import News
from orders.shop import SCHEMA, Shop
from websockets.sync.client import connect


@pytest.fixture(scope="session")
def postgres_template():
    """Called once, however many workers there are: every database of the tests is a copy of this one."""

    def fill(connection):
        with psycopg.connect(connection.url) as database:
            database.execute(SCHEMA.read_text())

    return fill


@pytest.fixture
def shop(fresh_postgres, clean_redis):
    """A shop of the test's own: its database and its counters are as new."""
    with (
        psycopg.connect(fresh_postgres.url, autocommit=True) as database,
        redis.Redis.from_url(clean_redis.url) as counters,
    ):
        yield Shop(database, counters)


@pytest.fixture
def news(worker_websocket, request):
    """Two who share a channel that no other test uses."""
    channel = worker_websocket.channel(request.node.name)
    with connect(worker_websocket.url) as teller, connect(worker_websocket.url) as listener:
        yield News(teller, channel), News(listener, channel)
