"""`envctl db`, and `Environment.database`: databases beside the environment's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest
from harness import Project

POSTGRES = "services: {postgres: {}, redis: {}, websocket: {}}\nexport: {TEST_DB: '{postgres.url}'}\n"


@pytest.fixture(scope="module")
def shop(make_shared_project: Callable[..., Project]) -> Project:
    """An environment with a table."""
    project = make_shared_project(engine="embedded")
    project.config(POSTGRES)
    project.up()
    project.run("psql", "-c", "CREATE TABLE things AS SELECT 'before' AS name", check=True)
    return project


def names(project: Project) -> list[str]:
    """The databases that `ls` lists."""
    return [one["name"] for one in project.run("db", "ls", "--format", "json", check=True).json["databases"]]


def test_made_and_removed(shop: Project) -> None:
    """A database holds what the environment's own holds, is told whole in each format, and is gone when dropped."""
    url = shop.run("db", "create", check=True).out.strip()
    made = shop.run("db", "create", "Shop-2", "--format", "json", check=True).json

    assert url.rpartition("/")[2] in names(shop)
    assert made["database"] == "Shop-2"
    assert made["variables"]["TEST_DB"] == made["variables"]["DATABASE_URL"] == made["url"]
    assert set(made["variables"]) == {"POSTGRES_URL", "POSTGRES_DB", "DATABASE_URL", "PGDATABASE", "TEST_DB"}
    assert shop.run("psql", "-d", "Shop-2", "-Atc", "TABLE things", check=True).out == "before\n"
    assert "SHOP-2" not in names(shop)
    shell = shop.run("db", "create", "--replace", "Shop-2", "--format", "shell", check=True).out
    assert "PGDATABASE" in shell
    dropped = shop.run("db", "drop", "Shop-2", "not_there", url.rpartition("/")[2], "--format", "json", check=True)
    assert len(dropped.json["dropped"]) == 2
    assert "not_there" in dropped.err
    assert names(shop) == []


def test_what_was_not_made_so_is_left_alone(shop: Project) -> None:
    """The environment's own, the server's, and what somebody else has made are neither dropped, replaced nor reset."""
    shop.run("psql", "-c", "CREATE DATABASE theirs", check=True)
    shop.run("db", "create", "ours", check=True)
    for name in ("app", "postgres", "template1", "theirs"):
        assert shop.error("db", "drop", "ours", name)["exit"] == 78
        assert shop.error("db", "create", "--replace", name)["code"] == "NOT_OURS"
        assert shop.error("db", "reset", name)["code"] == "NOT_OURS"
    assert shop.error("db", "create", "ours")["code"] == "DATA_FAILED"
    assert names(shop) == ["ours"]
    shop.run("db", "drop", "ours", check=True)
    query = "SELECT count(*) FROM pg_database WHERE datname LIKE 'ours%'"
    assert shop.run("psql", "-Atc", query, check=True).out == "0\n"


def test_put_back(shop: Project) -> None:
    """A reset gives a database what it held when it was new, by name, or by a line of stdin; errors are told there."""
    shop.run("db", "create", "mine", check=True)
    change = "UPDATE things SET name = 'after'; INSERT INTO things VALUES ('more')"
    shop.run("psql", "-d", "mine", "-c", change, check=True)
    (report,) = shop.run("db", "reset", "mine", "--format", "json", check=True).json["reset"]
    assert (report["database"], report["strategy"], report["changed"]) == ("mine", "tables", 1)
    assert shop.run("psql", "-d", "mine", "-Atc", "TABLE things", check=True).out == "before\n"

    process = shop.start("db", "reset", "--stdin")
    out, _ = process.communicate("mine\napp\nmine\n", timeout=30)
    first, refused, again = map(json.loads, out.splitlines())
    assert (first["changed"], refused["error"]["code"], again["changed"]) == (0, "NOT_OURS", 0)
    shop.run("db", "drop", "mine", check=True)


def test_databases_of_redis(shop: Project) -> None:
    """A number of Redis is lent once, under a name; a reset empties that one alone, and dropped it is free again."""
    redis = ("--service", "redis")
    shop.run("redis-cli", "set", "own", "1", check=True)
    made = shop.run("db", "create", *redis, "keys", "--format", "json", check=True).json
    other = shop.run("db", "create", *redis, check=True).out.strip().rpartition("/")[2]
    number = made["database"]
    assert made["variables"] == {"REDIS_URL": made["url"], "REDIS_DB": number}
    assert made["url"].rpartition("/")[2] == number
    assert len({number, other, "0"}) == 3
    assert shop.error("db", "create", *redis, "keys")["code"] == "DATA_FAILED"
    assert shop.run("db", "create", *redis, "--replace", "keys", "--format", "json", check=True).json == made
    assert names(shop) == [other, "keys"]

    for database in (number, other):
        shop.run("redis-cli", "-n", database, "set", "left", "1", check=True)
    process = shop.start("db", "reset", "--stdin")
    out, _ = process.communicate(f"redis keys\nredis {number}\nredis 0\nnowhere keys\n", timeout=30)
    first, again, refused, unknown = map(json.loads, out.splitlines())
    assert first["strategy"] == again["strategy"] == "flush"
    assert [shop.run("redis-cli", "-n", one, "dbsize", check=True).out for one in (number, other)] == ["0\n", "1\n"]
    assert (refused["error"]["code"], unknown["error"]["code"]) == ("NOT_OURS", "NO_SERVICE")
    assert shop.run("db", "drop", *redis, "keys", other, "0", "--format", "json", check=True).json == {
        "dropped": ["keys", other]
    }
    assert shop.run("redis-cli", "-n", other, "dbsize", check=True).out.strip() == "0"
    assert shop.run("redis-cli", "keys", "*", check=True).out.strip() == "own"
    assert names(shop) == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["create", "app_w1"], "USAGE"),
        (["create", "a b"], "USAGE"),
        (["create", "--service", "websocket"], "UNSUPPORTED"),
        (["create", "--service", "redis", "7"], "USAGE"),
        (["create", "--service", "nowhere"], "NO_SERVICE"),
        (["drop"], "USAGE"),
        (["crate"], "USAGE"),
        (["create", "--name", "second"], "NO_ENVIRONMENT"),
    ],
)
def test_what_cannot_be_done(shop: Project, words: list[str], code: str) -> None:
    """Names that are none or belong to test runs, other services and unknown verbs are refused, with words for why."""
    assert shop.error("db", *words)["code"] == code


PROGRAM = """
import envctl, json
with envctl.up() as environment:
    made = environment.database()
    left = environment.database("left")
    environment.drop_database(made)
    environment.drop_database(made)
    print(json.dumps([made.database, left.database, left.url]))
"""


def test_in_python(shop: Project) -> None:
    """`Environment.database` makes one of its own; what is left goes after the program, with the next one made."""
    shop.write("made.py", PROGRAM)
    out = shop.run("run", "--", sys.executable, "made.py", check=True).out
    made, left, url = json.loads(out.splitlines()[-1])
    assert url.endswith("/left")
    assert made != left == "left"
    assert names(shop) == ["left"]
    shop.run("db", "create", "next", check=True)
    assert names(shop) == ["next"]
    shop.run("db", "drop", "next", check=True)
