"""Databases of one's own on a real server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from local_server import LocalServer, closed_port, silent
from real_servers import eventually, postgres_binary

from envctl.errors import DataFailed
from envctl.kinds.postgres.data import Databases, connection_to, own_name
from envctl.kinds.postgres.protocol.client import Client, identifier
from envctl.kinds.postgres.protocol.login import ServerError
from envctl.model import Connection

ODD = "a \"b\" 'c' %s \\ ü"


@contextmanager
def session(where: Connection) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(where.url, autocommit=True) as link:
        yield link


@pytest.fixture
def base(fresh_postgres: Connection) -> Iterator[Connection]:
    """A database with a table of two rows, a sequence behind it, and settings of its own."""
    name = fresh_postgres.database or ""
    with session(fresh_postgres) as link:
        link.execute(f"CREATE ROLE {name}_clerk LOGIN PASSWORD 'x'".encode())
        link.execute(f"ALTER DATABASE {name} SET app.region = 'it''s here'".encode())
        link.execute(f"ALTER DATABASE {name} SET search_path = own, public".encode())
        link.execute(f"ALTER ROLE {name}_clerk IN DATABASE {name} SET work_mem = '5MB'".encode())
        link.execute("CREATE SCHEMA own CREATE TABLE items (id serial PRIMARY KEY, name text)")
        link.execute("INSERT INTO own.items (name) VALUES (%s), (NULL)", [ODD])
    eventually(lambda: not others(fresh_postgres))  # the backend of what was closed may still be ending
    yield fresh_postgres
    databases = Databases(fresh_postgres)
    databases.drop(*databases.names(f"{name}_"))
    with session(fresh_postgres) as link:
        link.execute(f"ALTER ROLE {name}_clerk IN DATABASE {name} RESET ALL".encode())
        link.execute(f"DROP ROLE {name}_clerk".encode())


def others(base: Connection) -> list[tuple[str | None, ...]]:
    """Who is connected to a database, beside the one who asks."""
    with Client(connection_to(base, "postgres"), 5.0) as client:
        return client.rows("SELECT pid FROM pg_stat_activity WHERE datname = %s", base.database or "")


def other(base: Connection, suffix: str) -> str:
    """The name of a database that goes with the base."""
    return f"{base.database}_{suffix}"


def refused(command: Sequence[str]) -> tuple[int, str]:
    raise AssertionError("nobody was connected, so nothing need be dumped")


class Inside:
    """Runs programs where the server is."""

    def __init__(self, where: Connection, **variables: str) -> None:
        folder = Path(postgres_binary("psql")).parent
        reach = {"PGHOST": where.host, "PGPORT": str(where.port), "PGPASSWORD": where.password or ""}
        self.environ = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", **reach, **variables}
        self.commands: list[Sequence[str]] = []

    def __call__(self, command: Sequence[str]) -> tuple[int, str]:
        self.commands.append(command)
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


def holds_all(copy: Connection) -> bool:
    """Whether a copy has data, defaults and settings of the base of these tests."""
    with session(copy) as link:
        rows = link.execute("INSERT INTO items (name) VALUES ('third') RETURNING id").fetchall()
        rows += link.execute("SELECT name FROM items WHERE id < 3 ORDER BY id").fetchall()
        rows += link.execute("SELECT current_setting('app.region')").fetchall()
        own = "SELECT setconfig FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase"
        own += " WHERE datname = current_database() AND setrole <> 0"
        rows += link.execute(own.encode()).fetchall()
    return rows == [(3,), (ODD,), (None,), ("it's here",), (["work_mem=5MB"],)]


# -- templates and copies ----------------------------------------------------------------------------------------------


def test_a_template_is_a_copy_of_the_base(base: Connection) -> None:
    """A template, and a database made of it, hold data, sequences and settings of the base, and are apart from it."""
    databases = Databases(base)

    template = databases.make_template(other(base, "template"), refused)
    databases.seal(other(base, "template"))
    clone = databases.clone(other(base, "template"), other(base, "w1"))

    assert (template.database, clone.database) == (other(base, "template"), other(base, "w1"))
    assert holds_all(clone)
    with session(base) as link:
        assert link.execute("SELECT count(*) FROM own.items").fetchone() == (2,)


def test_nobody_is_sent_away_from_the_base(base: Connection) -> None:
    """A base that somebody listens in is copied all the same, and the listener goes on."""
    inside = Inside(base)
    with session(base) as listener:
        listener.execute("LISTEN events")

        Databases(base).make_template(other(base, "template"), inside)

        assert listener.execute("SELECT 1").fetchone() == (1,)
    assert holds_all(connection_to(base, other(base, "template")))
    assert (base.password or "?") not in str(inside.commands)


def test_a_look_of_envctl_is_waited_for(base: Connection) -> None:
    """A probe that is under way while a template is made is over in a moment: nothing is dumped for it."""
    with Client(base, 5.0):
        pass  # its backend may still be ending
    Databases(base).make_template(other(base, "template"), refused)
    assert holds_all(connection_to(base, other(base, "template")))


@pytest.mark.parametrize("variables", [{"PGHOST": "127.0.0.9"}, {"PGOPTIONS": "-c a=b"}])
def test_a_copy_that_fails_is_no_template(base: Connection, variables: dict[str, str]) -> None:
    """Where the base cannot be dumped, the error has the programs' words, and no database is left."""
    databases = Databases(base)
    with session(base), pytest.raises(DataFailed) as caught:
        databases.make_template(other(base, "template"), Inside(base, **variables))
    assert caught.value.evidence
    assert databases.names(other(base, "")) == []


@pytest.mark.parametrize("end", ["COPY own.items ", "1\t"])
def test_half_a_copy_is_no_template(base: Connection, tmp_path: Path, end: str) -> None:
    """A dump that ends in the middle, also in the middle of a table, passes for none: `pg_dump` is made to do that."""
    wrapper = tmp_path / "pg_dump"
    wrapper.write_text(f'#!/bin/sh\n{postgres_binary("pg_dump")} "$@" | sed "/^{end}/q"\nexit 1\n')
    wrapper.chmod(0o755)
    databases, inside = Databases(base), Inside(base)
    inside.environ["PATH"] = f"{tmp_path}{os.pathsep}{inside.environ['PATH']}"
    with session(base), pytest.raises(DataFailed):
        databases.make_template(other(base, "template"), inside)
    assert databases.names(other(base, "")) == []


def test_a_sealed_template_is_copied_whoever_was_connected(base: Connection) -> None:
    """Whoever filled a template may have left connections behind; copies are made of it at once, by several."""
    databases = Databases(base)
    template = databases.make_template(other(base, "template"), refused)
    with session(template) as left_open:
        databases.seal(other(base, "template"))
        names = [databases.clone(other(base, "template"), other(base, f"w{number}")).database for number in (1, 2)]
        with pytest.raises(psycopg.OperationalError):
            left_open.execute("SELECT 1")
    assert databases.names(other(base, "")) == [other(base, "template"), *names]
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        psycopg.connect(template.url)


def test_databases_are_removed_whoever_is_connected(base: Connection) -> None:
    """Removing sends away who is still connected; what is not there is no error."""
    databases = Databases(base)
    databases.make_template(other(base, "template"), refused)
    databases.seal(other(base, "template"))
    with session(databases.clone(other(base, "template"), other(base, "w1"))):
        databases.drop(other(base, "w1"), other(base, "template"), other(base, "w2"))
    assert databases.names(other(base, "")) == []


def test_a_base_called_postgres(base: Connection) -> None:
    """The database that others are made from is never the one that envctl itself is connected to."""
    copied = Databases(connection_to(base, "postgres"))
    copied.make_template(other(base, "template"), Inside(base))  # another worker may look at it just now
    assert copied.names(other(base, "template")) == [other(base, "template")]


def test_long_names_stay_apart() -> None:
    """Postgres cuts names at 63 bytes: the suffix stays, so two databases never become one."""
    assert own_name("shop", "_w3") == "shop_w3"
    long = {own_name("s" * 63, suffix) for suffix in ("_w3", "_w31", "_w3_t100000")}
    assert {name.lstrip("s") for name in long} == {"_w3", "_w31", "_w3_t100000"}
    assert max(map(len, long)) < 63


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.provokes("DATA_FAILED")
def test_the_servers_words_are_shown(base: Connection) -> None:
    """What the server refuses ends in an error with its words and its code."""
    databases = Databases(base)
    databases.make_template(other(base, "template"), refused)
    with pytest.raises(DataFailed) as caught:
        databases.make_template(other(base, "template"), refused)
    assert caught.value.exit == 86
    assert f'database "{other(base, "template")}" already exists (42P04)' in str(caught.value.cause)


def test_no_server_or_a_wrong_one(postgres: Connection) -> None:
    """A server that is gone, silent or another one ends in the same error, in time."""
    with LocalServer(silent()) as mute:
        for wrong, words in ((closed_port(), "refused"), (mute.port, "did not answer within 0.2 s")):
            with pytest.raises(DataFailed) as caught:
                Databases(replace(postgres, port=wrong), 0.2).names("")
            assert words in str(caught.value.cause)


# -- the client --------------------------------------------------------------------------------------------------------


def test_rows_of_any_text(base: Connection) -> None:
    """Texts go in and come out as they are, NULL as None, statements in one query in order; big rows too."""
    with Client(base, 5.0) as client:
        assert client.rows("SELECT %s, NULL, ''; SELECT 2", ODD) == [(ODD, None, ""), ("2",)]
        ((big,),) = client.rows("SELECT repeat('x', 1000000)")
        assert big == "x" * 1_000_000
        assert client.rows(f"SELECT 1 AS {identifier(ODD)}") == [("1",)]


def test_a_session_outlives_an_error(base: Connection) -> None:
    """After a statement that failed the next one is answered; after an end that the server told, it is told."""
    with Client(base, 5.0) as client:
        with pytest.raises(ServerError, match="division by zero"):
            client.rows("SELECT 1/0")
        assert client.rows("SELECT 1") == [("1",)]
        with pytest.raises(ServerError) as caught:
            client.rows("SELECT pg_terminate_backend(pg_backend_pid())")
    assert caught.value.code == "57P01"


def test_a_statement_has_its_own_time(base: Connection) -> None:
    """The limit is one for each statement, not for the session."""
    with Client(base, 0.5) as client:
        for _ in range(3):
            client.rows("SELECT pg_sleep(0.2)")
        with pytest.raises(TimeoutError):
            client.rows("SELECT pg_sleep(1)")
