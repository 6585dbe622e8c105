"""What a settled server has written to its data folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import redis as client
from local_server import closed_port

from envctl.errors import DataFailed
from envctl.kinds.postgres import settling as postgres_settling
from envctl.kinds.redis import settling as redis_settling
from envctl.model import Connection


def test_postgres_has_written_what_was_committed(fresh_postgres: Connection) -> None:
    """After it, a checkpoint is complete that began after the last change."""
    with psycopg.connect(fresh_postgres.url, autocommit=True) as link:
        link.execute("CREATE TABLE items AS SELECT * FROM generate_series(1, 100)")
        before = link.execute("SELECT pg_current_wal_lsn()").fetchone()

        postgres_settling.settle(fresh_postgres)

        sql = "SELECT %s::pg_lsn <= redo_lsn FROM pg_control_checkpoint()"
        assert link.execute(sql, before).fetchone() == (True,)


def test_redis_has_its_keys_in_a_file(worker_redis: Connection) -> None:
    """After it, dump.rdb holds what was set, also where somebody else's background save is under way."""
    with client.Redis.from_url(worker_redis.url) as link:
        link.set("a-key-that-was-settled", "x")
        link.bgsave()

        redis_settling.settle(worker_redis)

        file = Path(link.config_get("dir")["dir"], "dump.rdb")
        assert b"a-key-that-was-settled" in file.read_bytes()


@pytest.mark.provokes("DATA_FAILED")
@pytest.mark.parametrize(("kind", "settle"), [("postgres", postgres_settling.settle), ("redis", redis_settling.settle)])
def test_what_goes_wrong_is_told(
    kind: str, settle: Callable[[Connection], None], request: pytest.FixtureRequest
) -> None:
    """A server that is gone, or does not let us in, ends in an error with the cause."""
    base: Connection = request.getfixturevalue(kind)
    for words, changes in {"refused": {"port": closed_port()}, "pass": {"password": "other"}}.items():
        with pytest.raises(DataFailed) as caught:
            settle(replace(base, **changes))
        assert words in str(caught.value.cause).lower()
