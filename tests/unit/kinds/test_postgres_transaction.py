"""Everything on one connection, undone by a rollback."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from envctl.errors import DataFailed
from envctl.kinds.postgres.transaction import rolled_back
from envctl.model import Connection


@pytest.mark.parametrize("autocommit", [False, True])
def test_what_is_done_inside_is_undone(fresh_postgres: Connection, *, autocommit: bool) -> None:
    """What is done inside is undone, also by code with savepoints and after an error; the connection is as before."""
    with psycopg.connect(fresh_postgres.url, autocommit=True) as link:
        link.execute("CREATE TABLE t (id int)")
        link.autocommit = autocommit
        with pytest.raises(psycopg.errors.DivisionByZero):
            _insert_and_fail(link)
        assert link.autocommit is autocommit
        assert link.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_a_commit_inside_is_told(fresh_postgres: Connection) -> None:
    """What the code inside has committed cannot be undone, which is an error."""
    with psycopg.connect(fresh_postgres.url) as link:
        link.execute("CREATE TABLE t (id int)")
        with pytest.raises(DataFailed) as caught:
            _insert_and_commit(link)
        assert "committed" in str(caught.value.cause)


def _insert_and_fail(link: psycopg.Connection[Any]) -> None:
    with rolled_back(link) as same:
        same.execute("INSERT INTO t VALUES (1)")
        with same.transaction():
            same.execute("INSERT INTO t VALUES (2)")
        assert same.execute("SELECT count(*) FROM t").fetchone() == (2,)
        same.execute("SELECT 1/0")


def _insert_and_commit(link: psycopg.Connection[Any]) -> None:
    with rolled_back(link):
        link.execute("INSERT INTO t VALUES (1)")
        link.commit()
