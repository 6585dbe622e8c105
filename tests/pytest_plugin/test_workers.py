"""Runs with workers of pytest-xdist: one environment, data of its own for each worker, and nothing left."""

from __future__ import annotations

import os
import signal

from harness import eventually
from pytest_runs import MakeTests

ALL = "services: {postgres: {}, redis: {}, websocket: {}}"

TEMPLATE = """
import pytest
from support import note, sql

@pytest.fixture(scope="session")
def postgres_template():
    def fill(connection):
        note(filled=connection.database)
        sql(connection, "CREATE TABLE items (id serial PRIMARY KEY, worker text)")
    return fill
"""

EACH_WORKER = """
import os, pytest

@pytest.mark.parametrize("number", range(4))
def test_own_data(number, worker_postgres, worker_redis, worker_websocket, envctl_environment):
    sql(worker_postgres, f"INSERT INTO items (worker) VALUES ('{os.environ['PYTEST_XDIST_WORKER']}')")
    note(
        database=worker_postgres.database,
        redis=worker_redis.database,
        channel=worker_websocket.channel("x"),
        port=worker_postgres.port,
        slot=envctl_environment.session.slot,
        workers=[row[0] for row in sql(worker_postgres, "SELECT worker FROM items")],
    )
"""


def test_each_worker_has_data_of_its_own_in_one_environment(make_tests: MakeTests) -> None:
    """Four workers share one environment; the template is filled once; database, Redis and channels are their own."""
    tests = make_tests(EACH_WORKER, config=ALL, conftest=TEMPLATE)

    run = tests.run("-n", "4")

    assert run.code == 0, run.out
    owned = [note for note in run.notes if "database" in note]
    assert len({note["port"] for note in owned}) == 1
    assert len(run.values("filled")) == 1
    for key in ("database", "redis", "channel", "slot"):
        assert len({note[key] for note in owned}) == len({note["worker"] for note in owned}) == 4, key
    assert all(set(note["workers"]) == {note["worker"]} for note in owned)
    tests.project.assert_nothing_left()


USING = """
import pytest

@pytest.mark.parametrize("number", range(2))
def test_own_data(number, worker_postgres, worker_redis, fresh_postgres):
    note(port=worker_postgres.port, database=worker_postgres.database)
    for own in (worker_postgres, fresh_postgres):
        assert sql(own, "SELECT name FROM things") == [("before",)]
"""


def test_an_environment_that_is_up_is_used_and_left(make_tests: MakeTests) -> None:
    """Workers find what was up already, with its data; afterwards it runs on as it was, without their databases."""
    tests = make_tests(USING, config="services: {postgres: {}, redis: {}}")
    report = tests.project.up()
    psql = tests.project.run
    psql("psql", "-c", "CREATE TABLE things AS SELECT 'before' AS name", check=True)
    before = tests.project.instances()

    run = tests.run("-n", "2")

    assert run.code == 0, run.out
    assert set(run.values("port")) == {report["services"]["postgres"]["port"]}
    assert len(set(run.values("database"))) == 2
    assert tests.project.instances() == before
    left = psql("psql", "-Atc", "SELECT datname FROM pg_database WHERE datname LIKE 'app%'", check=True).out
    assert left.split() == ["app"]
    assert tests.project.traces.rows("SELECT id FROM sessions") == []


CRASHING = """
import os, pathlib, pytest, time

def others():
    lines = pathlib.Path(os.environ["NOTES"]).read_text().splitlines()
    return {line.split('"')[3] for line in lines} - {"gw0", "gw1"}

@pytest.mark.parametrize("number", range(8))
def test_own_data(number, worker_postgres, envctl_environment):
    note(port=worker_postgres.port, slot=envctl_environment.session.slot)
    worker = os.environ["PYTEST_XDIST_WORKER"]
    if worker == "gw0":
        os._exit(3)
    deadline = time.monotonic() + 30
    while worker == "gw1" and not others() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sql(worker_postgres, "SELECT 1") == [("1",)]
"""


def test_a_crashed_worker_is_replaced_in_the_same_environment(make_tests: MakeTests) -> None:
    """A worker that dies takes nothing with it: its successor gets a slot of its own, and all is gone at the end."""
    tests = make_tests(CRASHING)

    run = tests.run("-n", "2")

    assert run.code == 1, run.out
    assert sorted(run.outcomes.values()) == ["error", *["passed"] * 7], run.out
    assert len(set(run.values("port"))) == 1
    slots = {note["worker"]: note["slot"] for note in run.notes}
    assert len(set(slots.values())) == len(slots) == 3
    tests.project.assert_nothing_left()


WAITING = """
import os, pytest, time

@pytest.mark.parametrize("number", range(2))
def test_long(number, worker_postgres):
    note(database=worker_postgres.database)
    controller = os.getppid()
    while os.getppid() == controller:
        time.sleep(0.05)
"""


def test_a_killed_controller_leaves_nothing(make_tests: MakeTests) -> None:
    """After `kill -9` of the controller the environment goes, once the workers have gone."""
    tests = make_tests(WAITING)
    process = tests.start("-n", "2")
    assert eventually(lambda: len(tests.notes()) == 2, limit_s=60)
    tests.project.traces.notice()

    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)

    assert eventually(lambda: not tests.project.processes(), limit_s=30)
    tests.project.assert_nothing_left()


def test_a_failure_is_met_once(make_tests: MakeTests) -> None:
    """What does not come up is tried by one worker; the tests of all fail with the words of `envctl up` alone."""
    tests = make_tests(
        "import pytest\n@pytest.mark.parametrize('number', range(4))\ndef test_it(number, envctl_environment): pass",
        config="services: {broken: {process: 'sh -c \"echo x >> ../tries; echo the reason; exit 3\"'}}",
    )
    run = tests.run("-n", "2")

    assert run.code == 1
    assert set(run.outcomes.values()) == {"error"}
    assert (tests.project.folder / "tries").read_text() == "x\n"
    assert run.out.count("error[SERVICE_EXITED]") >= 4
    assert "the reason" in run.out
    assert "another exception" not in run.out
    assert "envctl/conductor" not in run.out
    tests.project.assert_nothing_left()


def test_a_template_that_fails_is_filled_once(make_tests: MakeTests) -> None:
    """Where filling the template fails, it is not tried again: the other workers say what went wrong, and where."""
    tests = make_tests(
        EACH_WORKER,
        config=ALL,
        conftest=TEMPLATE.replace("CREATE TABLE items", "CREATE TABEL items"),
    )
    run = tests.run("-n", "2")
    assert set(run.outcomes.values()) == {"error"}
    assert len(run.values("filled")) == 1
    assert run.out.count('syntax error at or near "TABEL"') >= 2
