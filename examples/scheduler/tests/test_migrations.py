"""A change of the schema itself is undone like any other, or happens in a database that is thrown away."""

import os
import subprocess
import sys

import psycopg


def columns_of(database):
    rows = database.execute("SELECT column_name FROM information_schema.columns WHERE table_name = 'schedules'")
    return [name for (name,) in rows]


def test_a_column_may_be_added(database):
    assert len(columns_of(database)) == 9
    database.execute("ALTER TABLE schedules ADD COLUMN owner_id integer REFERENCES users")
    database.execute("UPDATE schedules SET owner_id = 1")
    assert len(columns_of(database)) == 10


def test_there_are_no_other_columns(database):
    assert columns_of(database) == [
        "id",
        "name",
        "workflow_id",
        "calendar_id",
        "cron",
        "state",
        "input",
        "next_at",
        "updated_at",
    ]


def test_migrations_that_were_applied_are_not_applied_again(fresh_postgres):
    done = subprocess.run(
        [sys.executable, "db/migrate.py"],
        env={**os.environ, "DATABASE_URL": fresh_postgres.url},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""


def test_the_history_is_thrown_away_with_the_database(fresh_postgres):
    with psycopg.connect(fresh_postgres.url) as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (100,)
        database.execute("DROP TABLE runs CASCADE")
