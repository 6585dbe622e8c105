"""Named snapshots on every engine: saved while clients write, put back all or nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from harness import Project
from redis import Redis

CONFIG = """
services:
  postgres: {}
  redis: {}
  websocket: {}
"""
BALANCE = "SELECT sum(amount), count(*) FROM ledger"


@contextmanager
def writing(url: str) -> Iterator[None]:
    """A client that moves money all the time, and connects again when it is sent away."""
    stop = threading.Event()

    def move() -> None:
        while not stop.is_set():
            with suppress(psycopg.Error), psycopg.connect(url, autocommit=True) as link:
                while not stop.is_set():
                    with link.transaction():
                        link.execute("UPDATE ledger SET amount = amount - 1 WHERE who = 'a'")
                        link.execute("UPDATE ledger SET amount = amount + 1 WHERE who = 'b'")

    client = threading.Thread(target=move)
    client.start()
    try:
        yield
    finally:
        stop.set()
        client.join()


def ask(url: str, query: str) -> Any:
    with psycopg.connect(url, autocommit=True) as link:
        return link.execute(query.encode()).fetchone()


def test_save_change_restore(project: Project) -> None:
    """What was saved comes back, in a branch of the same project too, while a client goes on writing."""
    project.config(CONFIG)
    project.allow_files("snapshots/shop/*")
    variables = project.up()["variables"]
    postgres, redis = variables["DATABASE_URL"], Redis.from_url(variables["REDIS_URL"])
    with psycopg.connect(postgres) as link:
        link.execute("CREATE TABLE ledger (who text, amount int)")
        link.execute("INSERT INTO ledger VALUES ('a', 500), ('b', 500)")
        link.execute("CREATE TABLE wide AS SELECT n, md5(n::text) AS text FROM generate_series(1, 30000) n")
    redis.set("cart", "full", ex=1000)
    with writing(postgres):
        made = project.run("snapshot", "save", "demo", "--format", "json", check=True)
        assert set(made.json["services"]) == {"postgres", "redis"}
        redis.flushall()
        with psycopg.connect(postgres) as link:
            link.execute("CREATE TABLE more (x int)")
            link.execute("DELETE FROM wide")
        project.run("snapshot", "restore", "demo", check=True)
        assert ask(postgres, BALANCE) == (1000, 2)
    assert ask(postgres, "SELECT count(*), to_regclass('more') FROM wide") == (30000, None)
    assert redis.get("cart") == b"full"
    assert 0 < redis.ttl("cart") <= 1000
    assert project.run("status").code == 0

    file = str(project.folder / "demo.envctl")
    project.run("snapshot", "export", "demo", file, check=True)
    project.run("snapshot", "rm", "demo", check=True)
    assert project.error("snapshot", "restore", "demo")["code"] == "NO_SNAPSHOT"
    project.run("snapshot", "import", file, "again", check=True)
    redis.flushall()
    assert project.run("snapshot", "restore", "again", "--only", "redis", "--format", "json").json["services"] == [
        "redis"
    ]
    assert redis.get("cart") == b"full"
    redis.close()
