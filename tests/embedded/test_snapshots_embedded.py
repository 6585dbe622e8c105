"""Named snapshots where something goes wrong: killed, damaged, of another shape; and from Python."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from harness import Project, eventually
from redis import Redis

BOTH = "services: {postgres: {}, redis: {}}\n"


@pytest.fixture
def shop(project: Project) -> Project:
    """A project that is up, with a snapshot "before" of a table and a key."""
    project.config(BOTH)
    project.allow_files("snapshots/shop/*")
    project.up()
    with connect(project) as link:
        link.execute("CREATE TABLE items AS SELECT n, repeat('x', 100) AS text FROM generate_series(1, 50000) n")
    redis(project, "SET", "cart", "full")
    project.run("snapshot", "save", "before", check=True)
    return project


@contextmanager
def connect(project: Project, database: str = "app") -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url(project, "postgres").rsplit("/", 1)[0] + f"/{database}", autocommit=True) as link:
        yield link


def redis(project: Project, *words: str) -> Any:
    with Redis.from_url(url(project, "redis")) as client:
        return client.execute_command(*words)


def url(project: Project, service: str) -> str:
    """As it was recorded: `envctl url` does not tell it of what is dirty."""
    details = json.loads(str(project.traces.rows("SELECT details FROM environments")[0][0]))
    return str(details["services"][service]["connection"]["url"])


def spoil(project: Project) -> None:
    with connect(project) as link:
        link.execute("DROP TABLE items; CREATE TABLE other (x int)")
    redis(project, "SET", "cart", "empty")


def is_restored(project: Project) -> bool:
    with connect(project) as link:
        found = link.execute("SELECT count(*) FROM items").fetchone()
    return (found, redis(project, "GET", "cart")) == ((50000,), b"full")


def is_spoilt(project: Project) -> bool:
    with connect(project) as link:
        found = link.execute("SELECT to_regclass('items'), to_regclass('other')").fetchone()
    return (found, redis(project, "GET", "cart")) == ((None, "other"), b"empty")


def kill_a_restore(project: Project) -> None:
    """A restore gets as far as to exchange the databases, and no further: it dies while it waits for its turn."""
    made = "SELECT 1 FROM pg_database WHERE datname = 'app_envctl_restore'"
    with connect(project, "postgres") as link:
        restore = project.start("snapshot", "restore", "before")
        assert eventually(lambda: link.execute(made).fetchone(), every_s=0.001)
        link.execute("SELECT pg_advisory_lock(hashtextextended('envctl swap app', 0))")
        assert eventually(lambda: state(project) == "dirty")
        os.killpg(restore.pid, signal.SIGKILL)
        restore.wait(10)


def state(project: Project) -> str:
    return str(project.traces.rows("SELECT state FROM environments")[0][0])


@pytest.mark.provokes("DATA_DIRTY")
def test_killed_while_it_restores(shop: Project) -> None:
    """An environment whose restore was killed is dirty: shown as such, refused to all that run tests, put right."""
    spoil(shop)
    kill_a_restore(shop)
    assert shop.run("status").code == 80
    assert shop.run("status", "--format", "json").json["dirty"]["doing"] == "envctl snapshot restore before"
    (listed,) = shop.run("ls", "--format", "json").json["environments"]
    assert listed["state"] == "dirty"
    for command in (("up",), ("env",), ("url", "postgres"), ("run", "--", "true"), ("snapshot", "save", "x")):
        result = shop.run(*command)
        assert result.code == (125 if command[0] == "run" else 86), str(result)
        assert "DATA_DIRTY" in result.err
    assert "before" in shop.error("up")["cause"]
    assert shop.run("psql", "-c", "SELECT 1").code == 0
    shop.run("snapshot", "restore", "before", check=True)
    assert is_restored(shop)
    assert shop.up()["state"] == "ready"
    with connect(shop, "postgres") as link:
        names = link.execute("SELECT count(*) FROM pg_database WHERE datname LIKE 'app_envctl_%'").fetchone()
    assert names == (0,)


def test_dirty_and_stopped(shop: Project) -> None:
    """A dirty environment that has stopped, as after a reboot, is started by the restore that puts it right.

    `up --fresh` begins anew, without what is dirty.
    """
    for put_right in (("snapshot", "restore", "before"), ("up", "--fresh")):
        kill_a_restore(shop)
        for process in shop.processes().values():
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        assert eventually(lambda: not shop.processes())
        assert shop.error("up")["code"] == "DATA_DIRTY"
        shop.run(*put_right, check=True)
        assert shop.run("status").code == 0
        with connect(shop) as link:
            there = link.execute("SELECT to_regclass('items') IS NOT NULL").fetchone()
        assert there == (put_right[0] == "snapshot",)


def test_dirty_data_that_is_kept(shop: Project) -> None:
    """Data of `persist: true` that is dirty stays so through a `down`, until it is put right or purged."""
    shop.config(BOTH.replace("{}, redis", "{persist: true}, redis"))
    shop.up()
    kill_a_restore(shop)
    shop.run("down", check=True)
    error = shop.error("up")
    assert (error["code"], "--purge" in error["fix"][-1]) == ("DATA_DIRTY", True)
    shop.run("snapshot", "restore", "before", check=True)
    assert is_restored(shop)
    assert shop.up()["state"] == "ready"


def test_nothing_or_all(shop: Project) -> None:
    """A restore that is interrupted, or finds one part damaged or without a service, changes nothing at all."""
    spoil(shop)
    with connect(shop, "postgres") as link:
        restore = shop.start("snapshot", "restore", "before")
        made = "SELECT 1 FROM pg_database WHERE datname = 'app_envctl_restore'"
        assert eventually(lambda: link.execute(made).fetchone(), every_s=0.001)
        restore.send_signal(signal.SIGINT)
        assert shop.code_of(restore) == 130
        assert link.execute(made).fetchone() is None
    file = shop.state / "snapshots" / "shop" / "before.envctl"
    good = file.read_bytes()
    at = good.index(b"redis.gz") + 512 + 30
    file.write_bytes(good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :])
    assert shop.error("snapshot", "restore", "before")["code"] == "SNAPSHOT_INVALID"
    file.write_bytes(good.replace(b"redis.gz", b"cache.gz").replace(b'"service": "redis"', b'"service": "cache"'))
    assert shop.error("snapshot", "restore", "before")["code"] == "SNAPSHOT_INVALID"
    assert is_spoilt(shop)
    assert state(shop) == "ready"


def test_from_python(shop: Project) -> None:
    """A program saves and restores the environment it uses; a snapshot is not replaced unasked."""
    spoil(shop)
    text = """
import envctl
with envctl.up(engine="embedded") as env:
    env.snapshot("spoilt")
    try:
        env.snapshot("spoilt")
    except envctl.EnvctlError as error:
        print(error.code)
    env.snapshot("spoilt", replace=True)
    env.restore("before")
"""
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=shop.root, env=shop.environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "WOULD_OVERWRITE\n"
    assert is_restored(shop)
    shop.run("snapshot", "restore", "spoilt", check=True)
    assert is_spoilt(shop)


def test_another_branch_and_another_project(shop: Project, make_embedded: Callable[..., Project]) -> None:
    """A snapshot belongs to the project: each of its branches can restore it, and no other project sees it."""
    shop.git("switch", "--quiet", "--create", "feature")
    shop.up()
    shop.run("snapshot", "restore", "before", check=True)
    assert shop.run("psql", "-At", "-c", "SELECT count(*) FROM items").out.strip() == "50000"
    shop.config(BOTH + "name: other\n")
    assert shop.error("snapshot", "restore", "before")["code"] == "NO_SNAPSHOT"
    everything = shop.run("snapshot", "ls", "--all", "--format", "json").json["snapshots"]
    assert [one["name"] for one in everything if one["kind"] == "named"] == ["before"]


def test_nothing_to_save(project: Project, tmp_path: Path) -> None:
    """Where no service holds data that can be saved, or there is no environment, the error says so."""
    project.config("services: {websocket: {}}\n")
    assert project.error("snapshot", "save", "x")["code"] == "NO_ENVIRONMENT"
    project.up()
    assert project.error("snapshot", "save", "x")["code"] == "UNSUPPORTED"
    assert not (project.state / "snapshots").exists()
