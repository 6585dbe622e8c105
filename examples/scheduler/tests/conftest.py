import baseline
import psycopg
import pytest
import redis
from scheduler.events import Channel, Events
from scheduler.queue import Queue
from scheduler.runs import Runs
from scheduler.schedules import Schedules
from websockets.sync.client import connect


@pytest.fixture(scope="session")
def seen():
    """Table → its rows and their checksum, as the first test of this worker found it."""
    return {}


@pytest.fixture(scope="session")
def connections():
    """This worker's connections, the last of which is in use."""
    opened = []
    yield opened
    for connection in opened:
        connection.close()


@pytest.fixture
def connection(clean_postgres, connections):
    """That of the test before: a reset leaves it open, unless a test has changed the schema."""
    try:
        connections[-1].execute("RESET ALL")
    except (IndexError, psycopg.OperationalError):
        connections.append(psycopg.connect(clean_postgres.url, autocommit=True))
    return connections[-1]


@pytest.fixture
def database(connection, seen):
    """This worker's database as the fixtures made it: to the last row, and to the next number of each sequence."""
    assert baseline.tables_of(connection) == baseline.ROWS.keys()
    assert baseline.sequences_of(connection) == baseline.LAST
    contents = baseline.contents_of(connection)
    assert {table: contents[table][0] for table in baseline.ROWS} == baseline.ROWS
    seen.update(seen or contents)
    assert contents == seen
    return connection


@pytest.fixture
def store(clean_redis):
    """This worker's Redis database as the fixtures made it, with the time that is left to the leader."""
    with redis.Redis.from_url(clean_redis.url, decode_responses=True) as client:
        assert baseline.keys_of(client) == baseline.KEYS
        assert [key for key in baseline.KEYS if client.ttl(key) != -1] == ["leader"]
        assert 0 < client.ttl("leader") <= 3600
        yield client


@pytest.fixture
def queue(store):
    return Queue(store)


@pytest.fixture
def runs(database, store, queue):
    return Runs(database, queue, Events(database, store))


@pytest.fixture
def schedules(database, queue, runs):
    return Schedules(database, queue, runs)


@pytest.fixture
def channel(worker_websocket, request):
    """A channel that no other test uses: one end that tells, and one that listens."""
    name = worker_websocket.channel(request.node.name)
    with connect(worker_websocket.url) as teller, connect(worker_websocket.url) as listener:
        listening = Channel(listener, name)
        listening.listen()
        yield Channel(teller, name), listening


@pytest.fixture
def one(database):
    """The only row that a statement has, or its only value."""

    def ask(statement, *values):
        (row,) = database.execute(statement, values).fetchall()
        return row[0] if len(row) == 1 else row

    return ask
