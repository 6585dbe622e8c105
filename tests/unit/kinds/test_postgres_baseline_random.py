"""Whatever is done to whatever schema, a reset puts everything back.

`ENVCTL_TEST_EXAMPLES=500 pytest tests/unit/kinds/test_postgres_baseline_random.py` looks much longer.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import psycopg
import pytest
import random_postgres as world
from database_checksums import checksums
from hypothesis import HealthCheck, Phase, example, given, note, settings
from hypothesis import strategies as st
from postgres_inside import Inside

from envctl.kinds.postgres import baseline
from envctl.kinds.postgres.data import Databases, connection_to
from envctl.kinds.postgres.resets import tracking
from envctl.model import Connection

EXAMPLES = int(os.environ.get("ENVCTL_TEST_EXAMPLES", "3"))
# Finding a smaller example takes minutes: it is done where somebody waits for it.
PHASES = [Phase.explicit, Phase.generate, *([Phase.shrink] if "ENVCTL_TEST_EXAMPLES" in os.environ else [])]

KEYED = {"_MOST_ROWS": 0, "_LARGE_ROWS": 0, "_SHARE": 3}
WITH_DDL = (False, False, True)

EVERYTHING = [
    world.Table(key, tuple(world.COLUMNS)[number::5], frozenset(extras), schema, 3, number, on_delete)
    for number, (key, extras, schema, on_delete) in enumerate(
        [
            ("id serial PRIMARY KEY", {"trigger", "view", "self", "generated"}, "public", "CASCADE"),
            ("", {"always trigger", "dropped", "stale view", "UNLOGGED", "virtual"}, 'Odd."Schema', "SET NULL"),
            ("id citext DEFAULT md5(random()::text) PRIMARY KEY", {"rls", "owner", "rule"}, "public", "CASCADE"),
            ("id serial PRIMARY KEY", {"partitioned", "always rule"}, "public", "CASCADE"),
            ("id uuid DEFAULT gen_random_uuid() UNIQUE", {"heir", "empty view", "big"}, "public", "SET DEFAULT"),
        ]
    )
]
ALL_WORK = [
    [world.Step(what, number, number + 1, how) for number in range(5) for what in what_]
    for how, what_ in (
        ("plain", sorted(set(world.WHAT))),
        ("replica", ("insert", "update", "delete")),
        ("role", ("insert", "update", "delete")),
        ("roll back", ("insert", "nextval", "setval", "setval false", "restart")),
    )
]
# Nothing that empties a table, after which no key would count.
KEYED_WORK = [
    [world.Step(what, number, number + 1, "plain") for number in range(5) for what in what_]
    for what_ in (("update key", "merge rows"), ("upsert rows", "swap rows", "move"), ("insert", "update", "delete"))
]


@pytest.fixture
def where(postgres: Connection) -> Iterator[Connection]:
    """The name of a database that each example makes anew."""
    name = f"random_{uuid.uuid4().hex[:12]}"
    yield connection_to(postgres, name)
    databases = Databases(postgres)
    databases.drop(*databases.names(name))
    with psycopg.connect(postgres.url, autocommit=True) as link:
        link.execute(f"DROP ROLE IF EXISTS {world.ROLE}".encode())


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=PHASES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@example(tables=EVERYTHING, rounds=ALL_WORK, keyed=False)
@example(tables=EVERYTHING, rounds=KEYED_WORK, keyed=True)
@given(
    tables=st.lists(world.tables, min_size=1, max_size=6),
    rounds=st.lists(st.sampled_from(WITH_DDL).flatmap(lambda ddl: world.steps(ddl=ddl)), min_size=1, max_size=3),
    keyed=st.booleans(),
)
def test_everything_comes_back(
    where: Connection, tables: list[world.Table], rounds: list[list[world.Step]], keyed: bool
) -> None:
    """After any work on any schema, rows, sequences, large objects and the schema itself are as they were.

    With `keyed` all tables are treated as large ones are.
    """
    databases = Databases(where)
    databases.drop(*databases.names(where.database or "?"))
    with psycopg.connect(connection_to(where, "postgres").url, autocommit=True) as link:
        link.execute(f"CREATE DATABASE {where.database} TEMPLATE template0".encode())
    with psycopg.connect(where.url, autocommit=True) as link:
        made = world.build(link, tables)
    before = checksums(where)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYED.items() if keyed else ():
            patch.setattr(tracking, name, value)
        baseline.take(where, "tables", Inside(where))
    taken = checksums(where)
    assert taken | {"triggers": 0} == before | {"triggers": 0}
    resets = baseline.Resetter(where)
    try:
        for steps in rounds:
            for step in steps:
                world.work(made, where, step)
            note(f"{resets.reset()}")
            assert checksums(where) == taken
    finally:
        resets.close()
