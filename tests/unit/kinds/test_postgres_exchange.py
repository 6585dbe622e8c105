"""One database takes another's place on a real server, whoever dies meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import psycopg
import pytest
from real_servers import eventually

from envctl.kinds.postgres.data import Databases, connection_to
from envctl.kinds.postgres.databases.exchange import exchange
from envctl.kinds.postgres.protocol.asking import beside
from envctl.kinds.postgres.protocol.client import Client
from envctl.kinds.postgres.protocol.login import ServerError
from envctl.model import Connection


@pytest.fixture
def names(fresh_postgres: Connection) -> Iterator[tuple[str, str, str]]:
    """A database whose name is to be taken; one that is to take it; what the former is to be called."""
    own = fresh_postgres.database or ""
    trio = own, f"{own}_n", f"{own}_o"
    with psycopg.connect(connection_to(fresh_postgres, "postgres").url, autocommit=True) as link:
        link.execute(f"CREATE DATABASE {trio[1]} TEMPLATE template0".encode())
        with psycopg.connect(connection_to(fresh_postgres, trio[1]).url) as new:
            new.execute("CREATE TABLE news (x int)")
    yield trio
    Databases(fresh_postgres).drop(*trio[1:])


def has_news(base: Connection) -> bool | None:
    """Whether the database of this name is the new one; None where it lets nobody in."""
    try:
        with psycopg.connect(base.url) as link:
            return link.execute("SELECT to_regclass('news') IS NOT NULL").fetchone() == (True,)
    except psycopg.OperationalError:
        return None


def test_who_asked_for_it_dies(fresh_postgres: Connection, names: tuple[str, str, str]) -> None:
    """An exchange that was begun is brought to its end by the server, although nobody waits for it any more."""
    with psycopg.connect(fresh_postgres.url) as somebody:
        pid = somebody.info.backend_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError), Client(beside(fresh_postgres), 0.2) as session:
                exchange(session, *names)
            assert has_news(fresh_postgres) is None  # new sessions are kept out meanwhile
        finally:
            os.kill(pid, signal.SIGCONT)
    eventually(lambda: has_news(fresh_postgres))


def test_what_fails_lets_clients_in_again(fresh_postgres: Connection, names: tuple[str, str, str]) -> None:
    """Where the second rename fails, the first did not happen, and the error is the server's own."""
    own, new, old = names
    with Client(beside(fresh_postgres), 10) as session:
        with pytest.raises(ServerError) as failed:
            exchange(session, own, f"{new}_missing", old)
        assert failed.value.code == "3D000"
        assert has_news(fresh_postgres) is False
        exchange(session, own, new, old)
    assert has_news(fresh_postgres)


def test_no_database_has_the_name(fresh_postgres: Connection, names: tuple[str, str, str]) -> None:
    """A database that was dropped is replaced all the same."""
    Databases(fresh_postgres).drop(names[0])
    with Client(beside(fresh_postgres), 10) as session:
        exchange(session, *names)
    assert has_news(fresh_postgres)
