"""The pytest plugin beside containers; all else of it is tested in tests/pytest_plugin, on the embedded engine."""

from __future__ import annotations

from harness import Project
from pytest_runs import PytestProject

TESTS = """
import os, pytest

@pytest.fixture(scope="session")
def postgres_template():
    def fill(connection):
        note(filled=connection.database)
        sql(connection, "CREATE TABLE items (n int)")
    return fill

@pytest.mark.parametrize("number", range(2))
def test_own_data(number, worker_postgres, fresh_postgres, clean_redis):
    note(port=worker_postgres.port, database=worker_postgres.database, redis=clean_redis.database)
    assert sql(fresh_postgres, "SELECT count(*) FROM items") == [("0",)]
    with pytest.raises(Exception):
        sql(worker_postgres, f"SELECT * FROM nowhere_{number}")
    assert number == 0
"""


def test_workers_share_containers_and_failures_show_their_logs(project: Project) -> None:
    """Two workers, one environment, databases of their own; a failed test shows what Postgres said while it ran."""
    tests = PytestProject(project, TESTS, config="services: {postgres: {}, redis: {}}")

    run = tests.run("-n", "2")

    assert run.outcomes == {"test_own_data[0]": "passed", "test_own_data[1]": "failed"}, run.out
    assert len(run.values("filled")) == len(set(run.values("port"))) == 1
    assert len(set(run.values("database"))) == len(set(run.values("redis"))) == 2
    assert 'ERROR:  relation "nowhere_1" does not exist' in run.out
    project.assert_nothing_left()
