"""`envctl run --workers N`: the same command several times at once, each with data of its own."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest
from harness import Project, eventually

BOTH = "services: {postgres: {}, redis: {}}\nexport: {TEST_DB: '{postgres.url}?x=1'}\n"
TELL = "import json, os; print(json.dumps(dict(os.environ)), flush=True)"
WAIT = 'trap "exit 9" INT TERM; echo begun; while :; do sleep 0.05; done'


@pytest.fixture
def shop(project: Project) -> Project:
    """A project whose failed runs keep their logs."""
    project.config(BOTH)
    project.allow_files("runs/*")
    return project


def lines(out: str) -> dict[str, list[str]]:
    """What each worker said."""
    said: dict[str, list[str]] = {}
    for line in out.splitlines():
        worker, _, text = line.partition("] ")
        said.setdefault(worker.removeprefix("["), []).append(text)
    return said


def databases(project: Project) -> list[str]:
    """The names of the databases that begin as the environment's own."""
    query = "SELECT datname FROM pg_database WHERE datname LIKE 'app%' ORDER BY 1"
    return project.run("psql", "-Atc", query, check=True).out.split()


INSIDE = """
import json, os, subprocess
def ask(*words):
    told = subprocess.run([*os.environ["envctl"].split(), *words], stdout=subprocess.PIPE, text=True, check=True)
    return told.stdout.strip()
variables = json.loads(ask("env", "--format", "json"))
print(json.dumps({
    "others": sorted(name for name, value in variables.items() if os.environ[name] != value),
    "missing": sorted({"ENVCTL_WORKER", "ENVCTL_CHANNEL_PREFIX", "TEST_DB"} - variables.keys()),
    "urls": [ask("url", "postgres") == os.environ["DATABASE_URL"], ask("url", "redis") == os.environ["REDIS_URL"]],
    "psql": ask("psql", "-Atc", "SELECT current_database()") == os.environ["PGDATABASE"],
    "redis-cli": [ask("redis-cli", "set", "mine", "1"), ask("redis-cli", "-n", "0", "dbsize")],
    "named": ask("--name", "other", "url", "redis").rpartition("/")[2],
}), flush=True)
"""


def test_envctl_inside_a_worker_means_its_own_data(shop: Project) -> None:
    """`env`, `url`, `psql` and `redis-cli` answer with the worker's own; a named environment is meant as such."""
    shop.config("services: {redis: {}}")
    shop.up("--name", "other")
    shop.config(BOTH)
    shop.up()
    shop.environ["envctl"] = " ".join(shop.command)
    told = lines(shop.run("run", "--workers", "2", "--", sys.executable, "-c", INSIDE, check=True).out)
    expected = {"others": [], "missing": [], "urls": [True, True], "psql": True, "redis-cli": ["OK", "0"], "named": "0"}
    assert [json.loads(text) for (text,) in told.values()] == [expected] * 2
    assert shop.run("url", "redis", check=True).out.strip().endswith("/0")
    assert not list(shop.state.rglob("workers/*.json"))


def test_each_worker_has_data_of_its_own(shop: Project) -> None:
    """Every variable that leads to data leads to its own, which holds what the environment's does; then it is gone."""
    shop.up()
    shop.run("psql", "-c", "CREATE TABLE things AS SELECT 'before' AS name", check=True)

    script = f"{sys.executable} -c '{TELL}'; $envctl db create made_$ENVCTL_WORKER >&2"
    shop.environ["envctl"] = " ".join(shop.command)
    told = lines(shop.run("run", "--workers", "3", "--", "sh", "-c", script, check=True).out)

    seen = {number: json.loads(text) for number, (text,) in told.items()}
    assert {(number, one["ENVCTL_WORKER"], one["ENVCTL_WORKERS"]) for number, one in seen.items()} == {
        (str(number), str(number), "3") for number in (1, 2, 3)
    }
    for name in ("PGDATABASE", "POSTGRES_DB", "DATABASE_URL", "TEST_DB", "REDIS_URL", "ENVCTL_CHANNEL_PREFIX"):
        assert len({one[name] for one in seen.values()}) == 3, name
    for one in seen.values():
        assert one["TEST_DB"] == f"{one['DATABASE_URL']}?x=1"
        assert one["DATABASE_URL"].endswith(f"/{one['PGDATABASE']}")
    assert databases(shop) == ["app"]
    assert shop.traces.rows("SELECT id FROM sessions") == []
    shop.run("db", "create", check=True)
    assert [one["made_for"] for one in shop.run("db", "ls", "--format", "json").json["databases"]] == [
        "envctl db create"
    ], "what was made in the run, and left, went with the next one"


def test_the_exit_code_is_the_first_that_failed(shop: Project) -> None:
    """By number, whoever ended first; each line has its worker's number, on the stream it was said on."""
    script = 'sleep 0.0$((4 - ENVCTL_WORKER)); printf "a\\nb"; echo oops >&2; exit $((ENVCTL_WORKER / 2 * 5))'
    done = shop.run("run", "--workers", "3", "--", "sh", "-c", script)

    assert done.code == 5
    assert lines(done.out) == {str(number): ["a", "b"] for number in (1, 2, 3)}
    assert {f"[{number}] oops" for number in (1, 2, 3)} < set(done.err.splitlines())
    assert shop.run("run", "--workers", "2", "--", "nowhere-to-be-found").code == 127
    shop.assert_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals_reach_all(shop: Project, number: signal.Signals) -> None:
    """A signal ends all workers, also where it kills envctl itself; nothing is left."""
    process = shop.start("run", "--workers", "3", "--", "sh", "-c", WAIT)
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline().endswith("begun\n")
    shop.traces.notice()

    os.kill(process.pid, number)

    process.communicate(timeout=30)
    assert process.returncode == (9 if number != signal.SIGKILL else -9)
    assert eventually(lambda: not shop.processes(), limit_s=20)
    shop.assert_nothing_left()
