"""What every engine must keep when an environment changes: replaced, healed, taken down, made again."""

from __future__ import annotations

import re
import select
import shutil
import socket
import sqlite3
from contextlib import closing

import psycopg
import pytest
from harness import Project, eventually
from redis import Redis

REDIS = "services: {redis: {}}\n"
TWO = """
services:
  redis: {}
  side: {kind: redis, environment: {COLOUR: red}}
"""


def test_a_changed_service_alone_is_replaced(project: Project) -> None:
    """Only the service whose definition changed is started anew, and the plan names what changed."""
    project.config(TWO)
    first = project.up()
    before = project.instances()
    project.config(TWO.replace("red}", "blue}"))
    plan = project.run("up", "--dry-run", check=True).out
    assert project.instances() == before, "a plan changes nothing"
    assert project.up()["variables"] == first["variables"]
    after = project.instances()
    assert after["redis"] == before["redis"]
    assert after["side"] != before["side"]
    starts = re.findall(r"\bstart +(\w+) +changed: (.*)", plan)
    assert [name for name, _ in starts] == ["side"]
    assert "environment" in starts[0][1]
    assert project.run("exec", "side", "--", "sh", "-c", "echo $COLOUR", check=True).out == "blue\n"


def test_services_that_come_and_go(project: Project) -> None:
    """A service that is new is started beside the others; taken out of the file it goes. The others stay."""
    project.config(REDIS)
    project.up()
    before = project.instances()
    project.config(TWO)
    report = project.up()
    assert project.instances().items() >= before.items()
    assert set(project.instances()) == set(report["services"]) == {"redis", "side"}
    project.config(REDIS)
    report = project.up()
    assert project.instances() == before
    assert set(report["services"]) == {"redis"}


def test_a_killed_service_is_told_and_healed(project: Project) -> None:
    """After `kill -9` of a service `status` says so, and `up` brings that one back under the same address."""
    project.config(TWO)
    first = project.up()
    before = project.instances()
    project.kill("side")
    status = project.run("status", "--format", "json")
    assert (status.code, status.json["state"]) == (80, "degraded")
    assert status.json["services"]["redis"]["state"] == "ready"
    assert status.json["services"]["side"]["state"] in ("exited", "stopped")
    assert project.up()["variables"] == first["variables"]
    after = project.instances()
    assert (after["redis"], set(after)) == (before["redis"], {"redis", "side"})
    assert after["side"] != before["side"]
    with Redis.from_url(first["variables"]["SIDE_URL"]) as redis:
        assert redis.ping()


def test_followed_logs_end_with_the_service(project: Project) -> None:
    """`logs --follow` ends by itself when the service has ended."""
    project.config(REDIS)
    project.up()
    process = project.start("logs", "--follow", "redis")
    assert eventually(lambda: select.select([process.stdout], [], [], 0)[0], limit_s=30)
    project.kill("redis")
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "Ready to accept connections" in out


def test_down_leaves_nothing(project: Project) -> None:
    """After `down` nothing of the environment is left, a second `down` is fine, and `status` knows of none."""
    project.config("services: {postgres: {}, redis: {}}")
    project.up()
    removed = project.run("down", "--format", "json", check=True).json
    assert (removed["removed"]["volume"], removed["removed"]["port"], removed["kept"]) == (2, 2, [])
    project.assert_nothing_left()
    assert project.run("down", "--format", "json", check=True).json["removed"] == {}
    assert project.error("env")["code"] == "NO_ENVIRONMENT"
    assert project.run("status").code == 66
    assert project.run("ls", "--format", "json", check=True).json["environments"] == []


def test_dry_run_changes_nothing(project: Project) -> None:
    """`up --dry-run` tells the plan, and there is nothing afterwards."""
    project.config(TWO)
    plan = project.run("up", "--dry-run", check=True).out
    assert re.findall(r"\bstart +(\w+)", plan) == ["redis", "side"]
    project.assert_nothing_left()


def test_ports_are_kept_or_given_up(project: Project) -> None:
    """`down --keep-ports` keeps a port for the next `up`; should somebody else take it meanwhile, there is another."""
    project.config(REDIS)
    first = project.up()["services"]["redis"]["port"]
    project.run("down", "--keep-ports", check=True)
    assert project.traces.rows("SELECT port FROM port_leases WHERE state = 'reserved'") == [(first,)]
    assert project.up()["services"]["redis"]["port"] == first
    project.run("down", "--keep-ports", check=True)
    with socket.create_server(("127.0.0.1", first)):
        report = project.up()
        assert report["services"]["redis"]["port"] != first
        with Redis.from_url(report["variables"]["REDIS_URL"]) as redis:
            assert redis.ping()
    project.run("down", check=True)
    project.assert_nothing_left()


def test_data_that_persists(project: Project) -> None:
    """`persist: true` keeps data over `down`, durably and with the same password; `--purge` removes it."""
    project.config("services: {postgres: {persist: true}, redis: {persist: true}, side: {kind: redis}}")
    first = project.up()["variables"]
    with psycopg.connect(first["DATABASE_URL"], autocommit=True) as postgres:
        postgres.execute("CREATE TABLE kept AS SELECT 7 AS n")
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert postgres.execute(f"SHOW {setting}").fetchone() == ("on",), setting
    for url in ("REDIS_URL", "SIDE_URL"):
        with Redis.from_url(first[url]) as redis:
            redis.set("n", 7)
    assert len(project.run("down", "--format", "json", check=True).json["kept"]) == 2
    assert project.instances() == {}
    assert project.error("env")["code"] == "NO_ENVIRONMENT"
    second = project.up()["variables"]
    assert second["PGPASSWORD"] == first["PGPASSWORD"]
    with psycopg.connect(second["DATABASE_URL"]) as postgres:
        assert postgres.execute("SELECT n FROM kept").fetchone() == (7,)
    with Redis.from_url(second["REDIS_URL"]) as redis, Redis.from_url(second["SIDE_URL"]) as side:
        assert (redis.get("n"), side.get("n")) == (b"7", None)
    project.run("down", "--purge", check=True)
    project.assert_nothing_left()


def test_environments_side_by_side(project: Project) -> None:
    """Another branch, and another name, have environments of their own: data, ports and passwords are not shared."""
    project.config(REDIS)
    main, named = project.up(), project.up("--name", "e2e")
    project.git("switch", "--quiet", "--create", "feature/$(id);'x'")
    branch = project.up()
    project.git("switch", "--quiet", "main")
    reports = {report["environment"]: report for report in (main, named, branch)}
    assert len(reports) == 3
    for key in ("port", "password"):
        assert len({report["services"]["redis"][key] for report in reports.values()}) == 3
    for name, report in reports.items():
        with Redis.from_url(report["variables"]["REDIS_URL"], decode_responses=True) as redis:
            assert redis.keys() == []
            redis.set("who", name)
    assert project.up()["variables"] == main["variables"]
    assert project.run("env", "--name", "e2e", "--format", "json", check=True).json == named["variables"]
    listed = project.run("ls", "--format", "json", check=True).json["environments"]
    assert {one["environment"] for one in listed} == set(reports)
    before = project.instances(main["environment"])
    project.run("down", "--name", "e2e", check=True)
    project.run("down", "--branch", "feature/$(id);'x'", check=True)
    assert [project.instances(name) for name in reports] == [before, {}, {}]
    project.run("down", check=True)
    project.assert_nothing_left()


def test_down_without_the_configuration(project: Project) -> None:
    """`down` works when envctl.yaml can no longer be read, and when it has been deleted."""
    for spoil in (lambda file: file.write_text("services: ["), lambda file: file.unlink()):
        file = project.config(REDIS)
        project.up()
        spoil(file)
        project.traces.written["envctl.yaml"] = None
        project.run("down", check=True)
        project.assert_nothing_left()


def test_down_without_the_checkout(project: Project) -> None:
    """`down --all` removes an environment whose checkout has been deleted."""
    project.config(REDIS)
    project.up()
    shutil.rmtree(project.root)
    project.run("down", "--all", check=True, cwd=project.folder)
    project.assert_nothing_left()


@pytest.mark.parametrize("then", ["up", "down"])
def test_a_lost_registry_is_rebuilt(project: Project, then: str) -> None:
    """With the registry gone, the environment is found again by what was written beside it."""
    project.config(REDIS)
    first = project.up()
    before = project.instances()
    (project.state / "registry.db").unlink()
    if then == "up":
        assert project.up()["variables"] == first["variables"]
        assert project.instances() == before, "what runs as defined is not started again"
    project.run("down", check=True)
    project.assert_nothing_left()


def test_a_damaged_registry_is_rebuilt(project: Project) -> None:
    """The same where its bytes are damaged."""
    project.config(REDIS)
    project.up()
    with closing(sqlite3.connect(project.state / "registry.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (project.state / "registry.db").write_bytes(b"not a database" * 1000)
    project.allow_files("registry.db.*", "registry.*")
    project.run("down", check=True)
    project.assert_nothing_left()


def test_ls_tells_what_was_killed(project: Project) -> None:
    """`ls` too tells the truth about services that were killed."""
    project.config(TWO)
    project.up()
    project.kill("redis")
    listed = project.run("ls", "--format", "json", check=True).json["environments"]
    assert [one["state"] for one in listed] == ["degraded"]
    project.kill("side")
    listed = project.run("ls", "--format", "json", check=True).json["environments"]
    assert [one["state"] for one in listed] == ["stopped"]
