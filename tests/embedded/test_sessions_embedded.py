"""Who uses an environment, how long it lives, and what removes it when nobody needs it any more."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import Project, eventually
from held import Held

REDIS = "services: {redis: {}}\n"
NEVER_READY = 'services: {redis: {}, box: {process: [sleep, "600"], port: auto}}\n'
VERSION_1 = Path(__file__).with_name("registry_v1.sql")


@pytest.fixture
def shop(project: Project) -> Project:
    """A project with one service."""
    project.config(REDIS)
    return project


@contextmanager
def somebody() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is there already."""
    with subprocess.Popen(["sleep", "600"], cwd="/") as process:
        try:
            yield process
        finally:
            process.kill()


def rows(project: Project, columns: str = "label, state, ephemeral") -> list[tuple[object, ...]]:
    return project.traces.rows(f"SELECT {columns} FROM environments ORDER BY label")


def sessions(project: Project) -> list[tuple[object, ...]]:
    return project.traces.rows("SELECT id, owner_pid FROM sessions ORDER BY owner_pid")


def write_rows(project: Project, statement: str) -> None:
    """Change the registry's file."""
    with closing(sqlite3.connect(project.state / "registry.db", timeout=10)) as connection, connection:
        connection.execute(statement)


def watchers(project: Project) -> list[int]:
    return [pid for pid, process in project.processes().items() if "/watcher/run.py" in process.command]


@contextmanager
def worked_on(project: Project) -> Iterator[None]:
    """Somebody holds the environment's lock, as every command does that works on it."""
    ((key,),) = project.traces.rows("SELECT key FROM environments")
    with (project.state / "locks" / f"env-{str(key)[:16]}.lock").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def orphan(project: Project, *options: str) -> dict[str, Any]:
    """An environment whose run was killed, with its watcher; what `up` said of it."""
    with somebody() as process:
        report = project.up("--while-pid", str(process.pid), *options)
        for watcher in watchers(project):
            os.kill(watcher, signal.SIGKILL)
    return report


# -- down ------------------------------------------------------------------------------------------------------------


@pytest.mark.provokes("ENVIRONMENT_IN_USE")
def test_down_of_what_somebody_uses(shop: Project) -> None:
    """Refused, and who it is is named; not from within, and not with `--force`, which leaves the command alone."""
    held = Held(shop)
    run = shop.start("run", "--", *held.words)
    assert held.has_begun
    before = shop.instances()
    refused = shop.error("down")
    assert (refused["code"], refused["exit"], refused["subject"]["pids"]) == ("ENVIRONMENT_IN_USE", 75, [run.pid])
    assert f"envctl run (pid {run.pid})" in refused["message"]
    assert shop.instances() == before
    shop.run("down", "--force", check=True)
    assert rows(shop) == []
    assert held.lives
    held.release()
    run.communicate(timeout=30)
    assert run.returncode == 0
    shop.assert_nothing_left()


def test_down_from_within_by_descent(shop: Project) -> None:
    """A program below the process that uses it may remove it, also without the variable."""
    shop.up("--while-pid", str(os.getpid()))
    shop.run("down", check=True)
    shop.assert_nothing_left()


# -- a process that is there already ---------------------------------------------------------------------------------


@pytest.mark.provokes("NO_PROCESS")
def test_no_such_process(shop: Project) -> None:
    """Nothing is made for a process that is not there; one that has ended has nothing to give back."""
    with somebody() as process:
        pass
    error = shop.error("up", "--while-pid", str(process.pid))
    assert (error["code"], error["exit"]) == ("NO_PROCESS", 66)
    assert shop.run("down", "--while-pid", str(process.pid)).code == 0
    shop.assert_nothing_left()


def test_it_goes_with_its_process(shop: Project) -> None:
    """Also after `kill -9`; until then each further `up` for it changes nothing, and one watcher is enough."""
    with somebody() as process:
        first = shop.up("--while-pid", str(process.pid))
        before = shop.instances()
        assert shop.up("--while-pid", str(process.pid))["session"] == first["session"]
        assert sessions(shop) == [(first["session"], process.pid)]
        assert eventually(lambda: len(watchers(shop)) == 1)
        assert shop.instances() == before
        assert rows(shop) == [("", "ready", 1)]
    shop.assert_nothing_left()


def test_it_is_given_back(shop: Project) -> None:
    """`down --while-pid` ends the session at once, and the watcher with it; again is fine."""
    with somebody() as process:
        pid = str(process.pid)
        shop.up("--while-pid", pid)
        shop.run("down", "--while-pid", pid, check=True)
        assert rows(shop) == []
        shop.assert_nothing_left()
        shop.run("down", "--while-pid", pid, check=True)


def test_it_is_healed_for_its_process(shop: Project) -> None:
    """An `up` for the process whose service has died starts that again: it is no orphan."""
    with somebody() as process:
        first = shop.up("--while-pid", str(process.pid))
        shop.kill("redis")
        assert shop.up("--while-pid", str(process.pid))["variables"] == first["variables"]


def test_an_up_for_it_that_fails_leaves_what_it_has(shop: Project) -> None:
    """What the process uses already stays, and is still watched."""
    with somebody() as process:
        shop.up("--while-pid", str(process.pid))
        shop.config('services: {redis: {}, box: {process: [sh, -c, "exit 3"], port: auto}}')
        assert shop.error("up", "--while-pid", str(process.pid))["code"] == "SERVICE_EXITED"
        assert len(sessions(shop)) == 1
        assert "redis" in shop.instances()
    shop.assert_nothing_left()


def test_it_was_up_already(shop: Project) -> None:
    """Then it is used, and left."""
    shop.up()
    before = shop.instances()
    with somebody() as process:
        shop.up("--while-pid", str(process.pid))
        assert len(sessions(shop)) == 1
    assert eventually(lambda: not sessions(shop) and not watchers(shop))
    assert shop.instances() == before
    assert rows(shop) == [("", "ready", 0)]


def test_its_process_ends_during_up(shop: Project) -> None:
    """The `up` says so, and what it made is gone."""
    shop.config('services: {redis: {}, slow: {process: [sleep, "600"]}}')  # which takes a second to prove itself
    with somebody() as process:
        up = shop.start("up", "--while-pid", str(process.pid), "--format", "json")
        assert eventually(lambda: rows(shop) == [("", "creating", 1)], limit_s=20, every_s=0.01)
    _, err = up.communicate(timeout=30)
    assert up.returncode == 66
    assert json.loads(err)["error"]["code"] == "NO_PROCESS"
    shop.assert_nothing_left()


# -- how long it lives -----------------------------------------------------------------------------------------------


def test_what_has_expired_is_swept_away(shop: Project) -> None:
    """By the next command, whichever it is, in the background; use renews it."""
    shop.up("--ttl", "1h")
    write_rows(
        shop, "UPDATE environments SET last_used_at = last_used_at - 3000, expires_boot_s = expires_boot_s - 3000"
    )
    shop.up()
    ((at_s, used_s),) = rows(shop, "expires_at, last_used_at")
    assert float(str(at_s)) - float(str(used_s)) == pytest.approx(3600)
    shop.run("ls", check=True)
    assert rows(shop) == [("", "ready", 0)]
    write_rows(shop, "UPDATE environments SET expires_boot_s = 1")
    shop.run("ls", check=True, cwd=shop.folder)
    shop.assert_nothing_left()


def test_what_somebody_uses_does_not_expire(shop: Project) -> None:
    """However long it lasts; after its end it lives for its time again."""
    shop.up("--ttl", "1h")
    with somebody() as process:
        shop.up("--while-pid", str(process.pid))
        write_rows(shop, "UPDATE environments SET expires_boot_s = 1, last_used_at = 1")
        assert shop.run("gc", "--format", "json", check=True).json == {"environments": []}
        shop.run("ls", check=True)
    assert eventually(lambda: not sessions(shop))
    assert rows(shop) == [("", "ready", 0)]
    assert shop.run("gc", "--format", "json", check=True).json == {"environments": []}


def test_a_sweep_delays_nobody(shop: Project) -> None:
    """An `up` is done while what somebody else left is still being removed."""
    end = shop.folder / "end"
    waits = f"trap '' TERM; while [ ! -e {end} ]; do sleep 0.05; done"
    shop.config(f"services: {{slow: {{process: {[*('sh', '-c'), waits]!r}}}}}\n")
    orphan(shop, "--name", "slow")
    shop.config(REDIS)
    shop.up()
    assert eventually(lambda: rows(shop) == [("", "ready", 0), ("slow", "removing", 1)], every_s=0.01)
    end.touch()
    assert eventually(lambda: rows(shop) == [("", "ready", 0)])


# -- gc --------------------------------------------------------------------------------------------------------------


def collected(project: Project, *options: str) -> dict[str, str]:
    """Label of an environment → why `gc` removes it."""
    environ = {"ENVCTL_BACKGROUND": "1"}  # so that no sweep of a command is quicker than gc
    names = {str(name): str(label) for name, label in rows(project, "name, label")}
    told = project.run("gc", "--format", "json", *options, check=True, env=environ).json["environments"]
    assert all(one["error"] is None for one in told)
    assert all(bool(one["removed"]) is ("--dry-run" not in options) for one in told)
    return {names[one["environment"]]: one["cause"] for one in told}


def test_gc_and_its_causes(shop: Project) -> None:
    """What has expired, what a killed run and a killed `up` have left; a dry run says the same and changes nothing."""
    shop.environ["ENVCTL_BACKGROUND"] = "1"
    shop.up()
    shop.up("--name", "expired", "--ttl", "1h")
    write_rows(shop, "UPDATE environments SET expires_boot_s = 1 WHERE label = 'expired'")
    orphan(shop, "--name", "run")
    shop.config(NEVER_READY)
    up = shop.start("up", "--name", "up")
    assert eventually(lambda: ("up", "creating", 0) in rows(shop), limit_s=20, every_s=0.01)
    assert set(collected(shop, "--dry-run")) == {"expired", "run"}, "one is being worked on"
    up.kill()
    up.communicate()
    causes = {"expired": "it has expired", "run": "what used it has ended", "up": "was killed"}
    for options in (("--dry-run",), ()):
        found = collected(shop, *options)
        assert found.keys() == causes.keys()
        assert all(causes[label] in found[label] for label in causes)
    assert rows(shop) == [("", "ready", 0)]
    assert collected(shop) == {}


def test_gc_leaves_what_a_command_works_on(shop: Project) -> None:
    """What is due but locked is in use: it stays, and that is no failure."""
    shop.environ["ENVCTL_BACKGROUND"] = "1"
    orphan(shop)
    with worked_on(shop):
        assert shop.run("gc", "--dry-run", "--format", "json", check=True).json == {"environments": []}
        ((one),) = shop.run("gc", "--format", "json", check=True).json["environments"]
        assert (one["removed"], one["error"]) == (None, None)
        assert rows(shop) == [("", "ready", 1)]
    assert set(collected(shop)) == {""}


# -- an older registry -----------------------------------------------------------------------------------------------


def test_what_version_1_made_is_listed_used_and_removed(shop: Project) -> None:
    """Its registry is brought up to date by the first command; what runs goes on."""
    first = shop.up()
    before = shop.instances()
    old = shop.state / "old.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(VERSION_1.read_text())
        connection.execute("ATTACH ? AS now", (str(shop.state / "registry.db"),))
        for table in ("meta", "stacks", "environments", "port_leases", "subnet_leases"):
            names = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
            connection.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM now.{table}")
        connection.commit()
    old.replace(shop.state / "registry.db")
    shop.allow_files("registry.db.version-1-*")
    (listed,) = json.loads(shop.run("ls", "--format", "json", check=True).out)["environments"]
    assert listed["environment"] == first["environment"]
    assert rows(shop, "branch_source, checkout_mark, ttl_s, expires_boot_s") == [("", "", None, None)]
    assert shop.up()["variables"] == first["variables"]
    assert shop.instances() == before
    shop.run("run", "--", "true", check=True)
    assert collected(shop) == {}
    shop.run("down", check=True)
    shop.assert_nothing_left()
