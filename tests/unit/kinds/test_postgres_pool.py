"""Databases that are ready before they are asked for, on a real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from harness import eventually

from envctl.errors import DataFailed
from envctl.kinds.postgres.data import Databases, connection_to
from envctl.kinds.postgres.databases.pool import Pool
from envctl.kinds.postgres.protocol.client import Client
from envctl.kinds.postgres.resets.tracking import instrument
from envctl.model import Connection


@pytest.fixture(scope="module")
def template(worker_postgres: Connection) -> Iterator[str]:
    """The name of a template with a table of two rows."""
    name = f"{worker_postgres.database}_pool"
    databases = Databases(worker_postgres)
    made = databases.make_template(name, lambda _: (1, "nobody is connected"))
    with Client(made, 30.0) as client:
        client.rows(
            "CREATE TABLE items (id serial PRIMARY KEY, name text); INSERT INTO items (name) VALUES ('a'), ('b')"
        )
    instrument(made, name, "auto")
    databases.seal(name)
    yield name
    databases.drop(*databases.names(name))


@contextmanager
def pool_of(base: Connection, template: str) -> Iterator[Pool]:
    """A pool; nothing of it stays, neither databases nor its thread."""
    before = threading.active_count()
    pool = Pool(base, template, f"{template}_t")
    try:
        yield pool
    finally:
        pool.close()
        assert threading.active_count() == before


def rows(database: Connection, sql: str = "SELECT name FROM items ORDER BY id") -> list[tuple[str | None, ...]]:
    with Client(database, 30.0) as client:
        return client.rows(sql)


def test_no_spare_comes_before_the_first_databases_of_others(
    worker_postgres: Connection, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its first database a process copies none ahead for a while; who asks for one has it copied at once."""
    monkeypatch.setattr("envctl.kinds.postgres.databases.pool._FIRST_S", 600.0)
    with pool_of(worker_postgres, template) as pool:
        one = pool.take()
        assert not eventually(lambda: len(Databases(worker_postgres).names(f"{template}_t")) > 1, limit_s=0.5)
        other = pool.take()  # which ends the while
        assert other.database != one.database
        for taken in (one, other):
            pool.give_back(taken)


def one_put_back(pool: Pool) -> Connection:
    """One that somebody else had before, with the session in it in which it was put back."""
    for _ in range(20):
        own = pool.take()
        if rows(own, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()") == [("2",)]:
            return own
        pool.give_back(own)
    raise AssertionError("none was used again")


def oid(database: Connection) -> str:
    ((found,),) = rows(database, "SELECT oid FROM pg_database WHERE datname = current_database()")
    return found or ""


def test_each_one_is_as_the_template_and_nobody_elses(worker_postgres: Connection, template: str) -> None:
    """Whatever was done to one that was given back, the next ones hold what the template holds, sequences included."""
    spoil = [
        "INSERT INTO items (name) VALUES ('more')",
        "DELETE FROM items; SELECT nextval('items_id_seq')",
        "DROP TABLE items; CREATE TABLE other ()",
        "ALTER DATABASE {0} SET work_mem = '5MB'; UPDATE items SET name = 'changed'",
        "DROP SCHEMA envctl CASCADE; TRUNCATE items",
    ]
    names = []
    with pool_of(worker_postgres, template) as pool:
        for sql in [*spoil, *spoil]:
            one, other = pool.take(), pool.take()
            names += [one.database, other.database]
            for own in (one, other):
                assert rows(own, "INSERT INTO items (name) VALUES ('new') RETURNING id") == [("3",)]
                assert rows(own) == [("a",), ("b",), ("new",)]
                assert rows(own, "SHOW work_mem") == [("4MB",)]
            rows(one, sql.format(one.database))
            pool.give_back(one)
            pool.give_back(other)
        assert len(set(names)) == len(names), "no name is given twice"
    assert Databases(worker_postgres).names(f"{template}_t") == []


def test_who_stays_connected_reaches_nothing(worker_postgres: Connection, template: str) -> None:
    """A session that a test leaves open is ended, and its old address leads to no database of another test."""
    with pool_of(worker_postgres, template) as pool:
        one = pool.take()
        with psycopg.connect(one.url, autocommit=True) as left:
            left.execute("BEGIN; DELETE FROM items")
            pool.give_back(one)
            names = [pool.take().database for _ in range(3)]
            with pytest.raises(psycopg.OperationalError):
                left.execute("SELECT 1")
        assert one.database not in names
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(one.url)
        for name in names:
            assert rows(connection_to(worker_postgres, name or "")) == [("a",), ("b",)]
        Databases(worker_postgres).drop(*map(str, names))


def test_who_is_about_to_connect_reaches_nothing(worker_postgres: Connection, template: str) -> None:
    """A session that is still being made when its database is put back ends, though no view shows it yet."""
    with pool_of(worker_postgres, template) as pool, ThreadPoolExecutor() as beside:
        own = pool.take()
        same = f"SELECT 1 FROM pg_database WHERE oid = {oid(own)}"
        late = beside.submit(psycopg.connect, own.url, options="-c post_auth_delay=3")  # in the middle of it, seconds
        about = f"SELECT 1 FROM pg_locks WHERE locktype = 'object' AND objid = {oid(own)}"
        assert eventually(lambda: rows(worker_postgres, about) != [])
        pool.give_back(own)
        names = [pool.take().database for _ in range(3)]
        assert rows(worker_postgres, f"{same} AND datname IN ({', '.join(map(repr, names))})"), "it was put back"
        with pytest.raises(psycopg.OperationalError):
            late.result().execute("DELETE FROM items")
        Databases(worker_postgres).drop(*map(str, names))


def test_a_test_that_wants_its_database_for_itself(worker_postgres: Connection, template: str) -> None:
    """The session in which a database was put back is in nobody's way: it can be renamed, copied and dropped."""
    with pool_of(worker_postgres, template) as pool:
        name = one_put_back(pool).database
        rows(worker_postgres, f'CREATE DATABASE "{name}x" TEMPLATE "{name}"')
        rows(worker_postgres, f'ALTER DATABASE "{name}" RENAME TO "{name}y"')
        rows(worker_postgres, f'DROP DATABASE "{name}x"')
        rows(worker_postgres, f'DROP DATABASE "{name}y"')


def test_one_is_ready_before_it_is_asked_for(worker_postgres: Connection, template: str) -> None:
    """From the first one on there is a spare, and what is given back is used again."""
    databases = Databases(worker_postgres)
    with pool_of(worker_postgres, template) as pool:
        held = pool.take()
        assert eventually(lambda: len(databases.names(f"{template}_t")) == 2)
        pool.give_back(held)
        held = pool.take()
        assert eventually(lambda: f"{template}_t3" in databases.names(f"{template}_t"))
        assert len(databases.names(f"{template}_t")) == 2
        pool.give_back(held)


def test_a_test_that_ends_all_sessions(worker_postgres: Connection, template: str) -> None:
    """Where a test sends everybody away from the server, us too, the next ones get their databases all the same."""
    ours = f"query LIKE '%{template}_t%' AND pid <> pg_backend_pid()"  # other tests use the server, too
    with pool_of(worker_postgres, template) as pool:
        for _ in range(3):
            own = pool.take()
            rows(own, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}")
            pool.give_back(own)


@pytest.mark.provokes("DATA_FAILED")
def test_no_template(worker_postgres: Connection, template: str) -> None:
    """What keeps a database from being made is told to the one who asked, each time, in the server's words."""
    with pool_of(worker_postgres, f"{template}_nowhere") as pool:
        for _ in range(2):
            with pytest.raises(DataFailed) as error:
                pool.take()
            assert "does not exist" in str(error.value.cause)
