"""`envctl reset` and `Environment.reset`: back to what was seeded, while everybody stays connected."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import httpx
import psycopg
import pytest
import redis as client
from harness import Project, eventually
from real_servers import running_valkey

CONFIG = """
services:
  postgres: {seed: [schema.sql]}
  redis: {seed: [keys.json]}
  websocket: {}
"""
SCHEMA = "CREATE TABLE items AS SELECT n FROM generate_series(1, 3) AS n; CREATE TABLE other (id int);"


def seeded(project: Project) -> Project:
    """An environment with three rows and two keys."""
    project.write("schema.sql", SCHEMA)
    project.write("keys.json", '{"a": "1", "b": "2"}')
    project.config(CONFIG)
    project.up()
    return project


@pytest.fixture(scope="module")
def shop(make_shared_project: Callable[..., Project]) -> Project:
    """One for tests that leave it as it was."""
    return seeded(make_shared_project(engine="embedded"))


def variables(project: Project) -> dict[str, str]:
    found: dict[str, str] = project.run("env", "--format", "json", check=True).json
    return found


def disturb(project: Project) -> None:
    """Change one table and one key."""
    project.run("psql", "-c", "DELETE FROM items", check=True)
    project.run("redis-cli", "set", "c", "3", check=True)


def items(project: Project) -> str:
    return project.run("psql", "-Atc", "SELECT count(*) FROM items", check=True).out


def test_data_goes_back_and_connections_stay(shop: Project) -> None:
    """What a test changed is put back, in every service or in those named; who is connected goes on."""
    known = variables(shop)
    with (
        psycopg.connect(known["DATABASE_URL"], autocommit=True) as sql,
        client.Redis.from_url(known["REDIS_URL"]) as keys,
    ):
        sql.execute("DELETE FROM items")
        keys.set("a", "changed")
        reports = shop.run("reset", "--format", "json", check=True).json["reset"]
        assert [(one["service"], one["strategy"], one["changed"]) for one in reports] == [
            ("postgres", "tables", 1),
            ("redis", "copy", 2),
            ("websocket", "sessions", 0),
        ]
        assert all(0 < one["duration_ms"] < 5000 for one in reports)
        assert sql.execute("SELECT sum(n) FROM items").fetchone() == (6,)
        sql.execute("DELETE FROM items")
        keys.set("a", "changed")
        assert shop.run("reset", "redis", check=True).out.startswith("redis  2 keys put back in ")
        assert (sql.execute("SELECT sum(n) FROM items").fetchone(), keys.get("a")) == ((None,), b"1")
        shop.run("reset", "--strategy", "tables", "postgres", check=True)
        assert sql.execute("SELECT sum(n) FROM items").fetchone() == (6,)


def test_once_for_each_line(shop: Project) -> None:
    """With --stdin each line is answered by one of JSON, an error too, until the input ends."""
    disturb(shop)
    process = shop.start("reset", "--stdin")
    out, _ = process.communicate("\nnowhere\npostgres redis\n", timeout=60)
    first, refused, last = map(json.loads, out.splitlines())
    assert [one["changed"] for one in first["reset"]] == [1, 2, 0]
    assert refused["error"]["code"] == "NO_SERVICE"
    assert [(one["service"], one["changed"]) for one in last["reset"]] == [("postgres", 0), ("redis", 2)]
    assert (process.returncode, items(shop)) == (0, "3\n")


PROGRAM = """
import envctl, json, os, threading
with envctl.up() as environment:
    reports = []
    def work():
        for _ in range(5):
            reports.extend(environment.reset())
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    child = os.fork()
    if not child:
        try:
            environment.reset()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    again = environment.reset("redis", "postgres")
    print(json.dumps([len(reports), [one.service for one in again], again[1].changed]))
try:
    environment.reset("postgres")
except envctl.EnvctlError as error:
    print(json.dumps(error.code))
"""


def test_in_python(shop: Project) -> None:
    """Resets of several threads, and of a process that was forked off, do each other no harm."""
    shop.write("resets.py", PROGRAM)
    out = shop.run("run", "--", sys.executable, "resets.py", check=True).out
    assert json.loads(out.splitlines()[0]) == [60, ["postgres", "redis"], 2]


def test_who_was_sent_away_is_back(shop: Project) -> None:
    """A reset by template ends everybody's connections; then the services of its own are ready at once."""
    ready = variables(shop)["WEBSOCKET_URL"].replace("ws://", "http://").partition("/ws")[0] + "/readyz"
    resets = shop.start("reset", "--stdin", "--strategy", "template")
    assert resets.stdin
    assert resets.stdout
    for _ in range(5):
        resets.stdin.write("postgres\n")
        resets.stdin.flush()
        assert json.loads(resets.stdout.readline())["reset"][0]["strategy"] == "template"
        assert httpx.get(ready).status_code == 200
    resets.communicate(timeout=60)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["nowhere"], "NO_SERVICE"),
        (["--stdin", "redis"], "USAGE"),
        (["--new-baseline", "--strategy", "tables"], "USAGE"),
        (["--name", "second"], "NO_ENVIRONMENT"),
    ],
)
def test_what_cannot_be_done(shop: Project, words: list[str], code: str) -> None:
    """What makes no sense is refused, with words for why."""
    assert shop.error("reset", *words)["code"] == code


@pytest.mark.provokes("NO_BASELINE")
def test_a_new_baseline(project: Project) -> None:
    """A database that nobody seeded has nothing to go back to, until what it holds is taken for that."""
    project.write("page.sh", "exec sleep 600\n")
    project.config("services: {postgres: {}, redis: {}, page: {process: sh page.sh}}")
    project.up()
    error = project.error("reset")
    assert (error["code"], error["exit"]) == ("NO_BASELINE", 86)
    assert any("--new-baseline" in fix for fix in error["fix"])
    assert project.error("reset", "page")["code"] == "UNSUPPORTED"
    project.run("psql", "-c", SCHEMA, check=True)
    project.run("redis-cli", "set", "a", "1", check=True)
    taken = project.run("reset", "--new-baseline", "--format", "json", check=True).json["baseline"]
    assert [one["service"] for one in taken] == ["postgres", "redis"]
    disturb(project)
    project.run("redis-cli", "flushall", check=True)
    project.run("reset", check=True)
    assert (items(project), project.run("redis-cli", "--raw", "keys", "*", check=True).out) == ("3\n", "a\n")


@pytest.mark.provokes("FOREIGN_SERVER")
def test_another_server_and_what_was_lost(project: Project) -> None:
    """A server that took the address is not touched (78); one that lost its data is not taken for an empty one."""
    known = variables(seeded(project))
    port = int(known["REDIS_PORT"])
    project.kill("redis")
    databases = ("--databases", "386")
    with running_valkey(project.root, "--requirepass", "another", *databases, port=port):
        eventually(lambda: project.error("reset", "redis")["code"] != "DATA_FAILED")
        error = project.error("reset", "redis")
        assert (error["code"], error["exit"]) == ("FOREIGN_SERVER", 78)
    with running_valkey(project.root, "--requirepass", known["REDIS_PASSWORD"], *databases, port=port):
        eventually(lambda: project.error("reset", "redis")["code"] != "DATA_FAILED")
        assert project.error("reset", "redis")["code"] == "NO_BASELINE"


def test_a_seed_is_waited_for(project: Project) -> None:
    """While a seed runs nothing is reset: that is waited for, and given up in time with the name of who is at it."""
    project.write("slow.sh", "[ -e slow ] || exit 0; touch begun; until [ -e go ]; do sleep 0.05; done; rm begun\n")
    project.config("services: {redis: {seed: {command: sh slow.sh}}}")
    project.up()
    project.write("slow", "")
    seeding = project.start("seed")
    try:
        assert eventually((project.root / "begun").exists)
        busy = project.error("reset", "--timeout", "300ms")
        assert (busy["code"], busy["subject"]["pid"]) == ("ENVIRONMENT_BUSY", seeding.pid)
        resetting = project.start("reset")
    finally:
        project.write("go", "")
    assert (seeding.wait(30), resetting.wait(30)) == (0, 0)


def test_dirty_is_put_right(project: Project) -> None:
    """A reset is the way out for data that was left half changed: of each service, or of the one that is."""
    project.write("schema.sql", SCHEMA)
    project.write("keys.json", '{"a": "1"}')
    project.config("services:\n  redis: {seed: [keys.json]}\n  postgres: {seed: [schema.sql, {command: sh more.sh}]}")
    project.write("more.sh", "true\n")
    project.up()
    project.write("more.sh", 'psql "$DATABASE_URL" -c "DELETE FROM items" && exit 1\n')
    project.write("schema.sql", "DELETE FROM other;")
    assert project.error("seed")["code"] == "SEED_FAILED"
    assert project.error("reset", "--new-baseline")["code"] == "DATA_DIRTY"
    assert project.run("status", "--format", "json").json["state"] == "dirty"
    project.run("reset", check=True)
    assert (items(project), project.run("status", "--format", "json").json["state"]) == ("3\n", "ready")
