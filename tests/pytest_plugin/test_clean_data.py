"""Runs in which each test begins with the same data: `clean_postgres`, `clean_redis`, `fresh_postgres`."""

from __future__ import annotations

import re

import pytest
from pytest_runs import MakeTests

SEEDED = """
services:
  postgres: {seed: [seed.sql]}
  redis: {seed: [seed.json]}
"""
SEED = "CREATE TABLE items (id serial PRIMARY KEY, name text); INSERT INTO items (name) VALUES ('seeded')"

TESTS = """
import pytest

def redis_cli(connection, *words):
    from envctl.kinds.redis.client import Connection, Settings
    link = Connection(Settings(connection.host, str(connection.port), connection.database, "", connection.password), 5)
    try:
        return link.ask(words)
    finally:
        link.close()

@pytest.mark.parametrize("number", range(4))
def test_postgres(clean_postgres, worker_postgres, number):
    note(database=clean_postgres.database, url=clean_postgres.url == worker_postgres.url)
    assert sql(clean_postgres, "INSERT INTO items (name) VALUES ('x') RETURNING id") == [("2",)]
    assert sql(clean_postgres, "SELECT name FROM items ORDER BY id") == [("seeded",), ("x",)]
    if number == 2:
        sql(clean_postgres, "ALTER TABLE items ADD more text; CREATE TABLE other ()")

@pytest.mark.parametrize("number", range(4))
def test_fresh(fresh_postgres, number):
    note(fresh=fresh_postgres.database)
    assert sql(fresh_postgres, "INSERT INTO items (name) VALUES ('x') RETURNING id") == [("2",)]

@pytest.mark.parametrize("number", range(2))
def test_redis(clean_redis, redis, number):
    assert clean_redis.database != redis.database
    assert redis_cli(clean_redis, "GET", "greeting") == b"hello"
    assert redis_cli(clean_redis, "DBSIZE") == 1
    redis_cli(clean_redis, "SET", "greeting", "changed")
    redis_cli(clean_redis, "SET", "more", "1")
"""

TEMPLATE = """
import pytest
from support import note, sql

@pytest.fixture(scope="session")
def postgres_template():
    def fill(connection):
        note(filled=sql(connection, "SELECT name FROM items"))
        sql(connection, "UPDATE items SET name = 'filled'")
    return fill
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_each_test_begins_with_what_was_seeded(make_tests: MakeTests, workers: list[str]) -> None:
    """Rows, sequences, schema and keys are the seeded ones in each test; no template is made beside the baseline's."""
    tests = make_tests(TESTS, config=SEEDED)
    tests.project.write("seed.sql", SEED)
    tests.project.write("seed.json", '{"greeting": "hello"}')
    tests.project.up()

    run = tests.run(*workers)

    assert run.code == 0, run.out
    assert all(run.values("url"))
    assert len(set(run.values("fresh"))) == 4
    told = re.findall(r"^clean_postgres: (\d+) by tables(?:, (\d+) by template)?, ", run.out, re.MULTILINE)
    assert [sum(map(int, filter(None, counts))) for counts in told] == [4], "all of them, told once"
    if not workers:
        assert told == [("3", "1")]
    query = "SELECT datname FROM pg_database WHERE datname LIKE 'app%' ORDER BY 1"
    left = tests.project.run("psql", "-Atc", query, check=True).out.split()
    assert left == ["app", "app_baseline"], "what workers and tests had is gone"


def test_a_template_of_ones_own_begins_with_what_was_seeded(make_tests: MakeTests) -> None:
    """`postgres_template` gets the seeded data, and each test begins with what it made of them."""
    tests = make_tests(TESTS.replace('("seeded",)', '("filled",)'), config=SEEDED, conftest=TEMPLATE)
    tests.project.write("seed.sql", SEED)
    tests.project.write("seed.json", '{"greeting": "hello"}')
    run = tests.run("-k", "postgres or fresh")
    assert run.code == 0, run.out
    assert run.values("filled") == [[["seeded"]]]
    tests.project.assert_nothing_left()


UNSEEDED = """
import pytest

@pytest.fixture(scope="session")
def postgres_reset():
    return "template"

@pytest.mark.parametrize("number", range(2))
def test_it(clean_postgres, fresh_postgres, number):
    for own in (clean_postgres, fresh_postgres):
        assert sql(own, "SELECT name FROM things") == [("before",)]
        sql(own, "INSERT INTO things VALUES ('more')")
"""


def test_without_seeds(make_tests: MakeTests) -> None:
    """Where nothing was seeded each test begins with what the environment's database held; the way can be chosen."""
    tests = make_tests(UNSEEDED, config="services: {postgres: {}}")
    tests.project.up()
    tests.project.run("psql", "-c", "CREATE TABLE things AS SELECT 'before' AS name", check=True)
    run = tests.run()
    assert run.code == 0, run.out
    assert "clean_postgres: 2 by template" in run.out
    query = "SELECT datname FROM pg_database WHERE datname LIKE 'app%'"
    assert tests.project.run("psql", "-Atc", query, check=True).out.split() == ["app"]
