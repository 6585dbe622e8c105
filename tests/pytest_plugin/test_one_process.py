"""Runs of one process: what a failed test tells, what options and fixtures decide, and who else may be there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from harness import eventually
from pytest_runs import MakeTests

REPORTS = """
import pytest

def test_passes(fresh_postgres):
    with pytest.raises(Exception):
        sql(fresh_postgres, "SELECT * FROM quiet_failure")

def test_fails(fresh_postgres, worker_redis):
    note(kept=fresh_postgres.database, password=fresh_postgres.password)
    with pytest.raises(Exception):
        sql(fresh_postgres, "SELECT '\\x1b[31m' FROM loud_failure")
    sql(fresh_postgres, "CREATE TABLE left_here AS SELECT 1")
    assert False

def test_unrelated_fails():
    assert False

def test_next(fresh_postgres):
    assert sql(fresh_postgres, "SELECT to_regclass('left_here')") == [(None,)]
"""


def test_a_failed_test_tells_what_the_services_said(make_tests: MakeTests) -> None:
    """Its report has the lines of the services that said something while it ran, and only its; its database stays."""
    tests = make_tests(REPORTS, config="services: {postgres: {}, redis: {}}")
    tests.project.up()

    run = tests.run()

    assert run.outcomes == {
        "test_passes": "passed",
        "test_fails": "failed",
        "test_unrelated_fails": "failed",
        "test_next": "passed",
    }
    assert run.out.count("envctl postgres log") == 1
    assert 'ERROR:  relation "loud_failure" does not exist' in run.out
    assert "quiet_failure" not in run.out
    assert "envctl redis log" not in run.out
    assert "\x1b" not in run.out
    assert run.values("password")[0] not in run.out
    (kept,) = run.values("kept")
    assert f"envctl psql --service postgres -d {kept}" in run.out
    psql = tests.project.run("psql", "-d", kept, "-Atc", "TABLE left_here", check=True)
    assert psql.out == "1\n"
    databases = "SELECT datname FROM pg_database WHERE datname LIKE 'app_%'"
    assert tests.project.run("psql", "-Atc", databases, check=True).out.split() == [kept]


STYLES = """
import asyncio, os, unittest
import pytest

@pytest.fixture(scope="session", autouse=True)
def schema(worker_postgres):
    sql(worker_postgres, "CREATE TABLE orders (n int)")

@pytest.mark.usefixtures("clean_redis")
class TestCase(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _database(self, worker_postgres):
        self.database = worker_postgres

    def test_unittest(self):
        self.assertEqual(sql(self.database, "SELECT count(*) FROM orders"), [("0",)])

@pytest.mark.asyncio
async def test_asyncio(fresh_postgres):
    assert await asyncio.to_thread(sql, fresh_postgres, "SELECT 1") == [("1",)]

def redis_cli(connection, *words):
    from envctl.kinds.redis.client import Connection, Settings
    link = Connection(Settings(connection.host, str(connection.port), connection.database, "", connection.password), 5)
    try:
        return link.ask(words)
    finally:
        link.close()

@pytest.mark.parametrize("number", range(2))
def test_clean_redis(clean_redis, redis, number):
    assert clean_redis.database != redis.database
    assert redis_cli(clean_redis, "GET", "a") is None
    redis_cli(clean_redis, "SET", "a", "1")

def test_variables(envctl_variables, postgres):
    assert os.environ["DATABASE_URL"] == postgres.url
    assert os.environ["ENVCTL_SESSION"]

def test_dynamic(request):
    assert request.getfixturevalue("postgres").port == request.getfixturevalue("worker_postgres").port

def test_missing_kind(websocket):
    pass
"""

CHOICES = """
import os, pytest
from support import note

@pytest.fixture(scope="session")
def envctl_spec():
    return {"services": {"postgres": {}, "redis": {}}}

@pytest.fixture(scope="session")
def envctl_name():
    return "second"

def pytest_unconfigure(config):
    note(left=sorted(name for name in os.environ if name.startswith(("PG", "POSTGRES", "DATABASE", "ENVCTL_SESSION"))))
"""


def test_every_style_of_test(make_tests: MakeTests) -> None:
    """Beside pytest-asyncio, in unittest classes, by name at run time; what a conftest.py decides holds."""
    tests = make_tests(STYLES, config="services: {nothing: {image: nowhere}}", conftest=CHOICES)
    asyncio_option = ("-o", "asyncio_default_fixture_loop_scope=function")

    run = tests.run(*asyncio_option, plugins=("pytest_asyncio.plugin",))

    assert run.outcomes.pop("test_missing_kind") == "error"
    assert "error[NO_SERVICE]" in run.out
    assert set(run.outcomes.values()) == {"passed"}, run.out
    assert len(run.outcomes) == 6
    assert run.values("left") == [[]]
    assert "-second" in run.out.split("envctl: ")[-1]
    tests.project.assert_nothing_left()


ONLY_ONCE = """
import pytest

@pytest.mark.parametrize("number", range(2))
def test_it(postgres, number):
    sql(postgres, f"CREATE TABLE only_once_{number} ()")
"""


def test_options_keep_and_begin_afresh(make_tests: MakeTests) -> None:
    """--envctl-keep leaves what the run made; --envctl-fresh begins with another one in the place of what is up."""
    tests = make_tests(ONLY_ONCE)
    assert tests.run("--envctl-keep").code == 0
    first = tests.project.instances()
    assert tests.run().code == 1, "the tables are there already"
    assert tests.project.instances() == first

    run = tests.run("--envctl-fresh", "-n", "2")

    assert run.code == 0, run.out
    assert tests.project.instances().keys() == first.keys()
    assert tests.project.instances() != first


@pytest.mark.parametrize("options", [["-x"], ["--pdb"]])
def test_a_run_that_ends_early_removes_what_it_made(make_tests: MakeTests, options: list[str]) -> None:
    """Stopped by a failure or left in the debugger: the environment is gone afterwards."""
    tests = make_tests("def test_it(worker_postgres):\n    assert False\ndef test_next(fresh_postgres): pass")
    run = tests.run(*options)
    assert run.code in (1, 2), run.out
    assert run.outcomes == {"test_it": "failed"}
    tests.project.assert_nothing_left()


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_ctrl_c_removes_what_the_run_made(make_tests: MakeTests, workers: list[str]) -> None:
    """Ctrl-C, which reaches all processes of the run, ends it, and the environment is gone afterwards."""
    tests = make_tests("import time\ndef test_it(worker_postgres):\n    note(begun=1)\n    time.sleep(60)")
    process = tests.start(*workers)
    assert eventually(tests.notes, limit_s=30)

    os.killpg(process.pid, signal.SIGINT)

    run = tests.finished(process)
    assert run.code == pytest.ExitCode.INTERRUPTED, run.out
    tests.project.assert_nothing_left()


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_ctrl_c_while_the_environment_comes_up(make_tests: MakeTests, workers: list[str]) -> None:
    """Ctrl-C ends a wait for services too, and what had been started is gone afterwards."""
    slow = "services: {postgres: {}, slow: {process: sleep 60, port: 3000}}"
    tests = make_tests("def test_it(postgres): pass", config=slow)
    process = tests.start(*workers)
    assert eventually(lambda: tests.project.first_processes().keys() == {"postgres", "slow"}, limit_s=30)

    os.killpg(process.pid, signal.SIGINT)

    run = tests.finished(process)
    assert run.code == pytest.ExitCode.INTERRUPTED, run.out
    tests.project.assert_nothing_left()


def test_a_run_without_our_fixtures_pays_nothing(make_tests: MakeTests) -> None:
    """Nothing is imported but the plugin and its hooks, no state is made, nothing is told."""
    tests = make_tests(
        "import sys\ndef test_it():\n    note(modules=[name for name in sys.modules if name.startswith('envctl')])"
    )
    for workers in ([], ["-n", "1"]):
        run = tests.run(*workers)
        assert run.code == 0, run.out
        (modules,) = run.values("modules")
        assert set(modules) == {"envctl", "envctl.pytest_plugin", "envctl.fixtures", "envctl.fixtures.hooks"}
        assert list(tests.project.state.iterdir()) == []


def test_the_plugin_imports_nothing_that_pytest_has_not() -> None:
    """Beside itself it brings in no module at all, and pytest finds it by itself."""
    program = "import sys, pytest; before = set(sys.modules); import envctl.pytest_plugin, json; "
    program += "from importlib.metadata import entry_points; "
    program += (
        "print(json.dumps([sorted(set(sys.modules) - before), [e.value for e in entry_points(group='pytest11')]]))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    modules, plugins = json.loads(ended.stdout)
    allowed = {"envctl", "envctl.pytest_plugin", "envctl.fixtures", "envctl.fixtures.hooks"}
    assert {name for name in modules if name.split(".")[0] not in {"json", "_json", "importlib"}} <= allowed
    assert "envctl.pytest_plugin" in plugins
