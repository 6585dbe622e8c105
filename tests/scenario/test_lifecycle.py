"""The way of one environment: up, up again, changed, healed, down."""

from __future__ import annotations

import json
import re
from pathlib import Path

import psycopg
import pytest
from harness import Project
from redis import Redis

REDIS = "services:\n  redis: {}\n"
TWO = """
services:
  redis: {}
  side: {image: busybox, command: [sleep, "600"], environment: {COLOUR: red}}
"""


def _variables(project: Project, *options: str) -> dict[str, str]:
    found: dict[str, str] = project.run("env", "--format", "json", *options, check=True).json
    return found


def test_what_up_reports(project: Project) -> None:
    """The JSON of `up`, `status` and `env` agree with each other and with what the engine publishes."""
    project.config(REDIS)
    report = project.up()
    assert (report["state"], report["engine"], report["branch"]) == ("ready", "compose", "main")
    assert report["services"]["redis"]["state"] == "ready"
    assert report["timings_ms"]["total"] > 0
    assert report["variables"] == _variables(project)
    published = project.inspect("redis")["NetworkSettings"]["Ports"]["6379/tcp"]
    assert published == [{"HostIp": "127.0.0.1", "HostPort": str(report["services"]["redis"]["port"])}]
    status = project.run("status", "--format", "json", check=True).json
    for moving in ("timings_ms", "changes"):
        report.pop(moving, None), status.pop(moving, None)
    assert status == report
    assert project.run("url", "redis", check=True).out == report["services"]["redis"]["url"] + "\n"


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("COLOUR: red", "COLOUR: blue", "environment"),
        ('"600"', '"601"', "command"),
        ("image: busybox,", "image: busybox, ports: {web: 80}, ready: {exec: ['true']},", "ports"),
        ("image: busybox", "image: 'python:3.13-slim'", "image"),
        ("image: busybox,", "image: busybox, memory: 40m,", "memory"),
    ],
    ids=["environment", "command", "ports", "image", "memory"],
)
def test_a_changed_service_alone_is_replaced(project: Project, old: str, new: str, cause: str) -> None:
    """Only the service whose definition changed gets a new container, and the plan names what changed."""
    project.config(TWO)
    project.up()
    before = project.containers()
    project.config(TWO.replace(old, new))
    plan = project.run("up", "--dry-run", check=True).out
    project.up()
    after = project.containers()
    assert after["redis"] == before["redis"]
    assert after["side"] != before["side"]
    starts = re.findall(r"\bstart +(\w+) +changed: (.*)", plan)
    assert [name for name, _ in starts] == ["side"]
    assert cause in starts[0][1]


def test_up_from_a_subfolder(project: Project) -> None:
    """The environment belongs to the checkout, from wherever in it envctl is called."""
    project.config(REDIS)
    project.write("src/deep/file", "")
    below = project.root / "src" / "deep"
    report = project.up(cwd=below)
    assert project.run("env", "--format", "json", check=True).json == report["variables"]
    project.run("down", check=True, cwd=below.parent)
    project.assert_nothing_left()


def test_a_worktree_has_its_own_environment(project: Project) -> None:
    """A git worktree is a checkout of its own, though the project's name is the same."""
    project.config(REDIS)
    main = project.up()
    tree = project.folder / "elsewhere"
    project.git("worktree", "add", "--quiet", str(tree))
    (tree / "envctl.yaml").write_text(REDIS)
    other = project.up(cwd=tree)
    assert other["project"] == main["project"] == "shop"
    assert other["environment"] != main["environment"]
    assert other["services"]["redis"]["port"] != main["services"]["redis"]["port"]


def test_ports_stay_the_same(project: Project) -> None:
    """The ports are the same after `down` and `up`, with `--keep-ports` even when another environment wants them."""
    project.config(REDIS)
    first = project.up()["services"]["redis"]["port"]
    project.run("down", "--keep-ports", check=True)
    kept = project.traces.rows("SELECT port FROM port_leases WHERE state = 'reserved'")
    assert kept == [(first,)]
    assert project.up()["services"]["redis"]["port"] == first
    assert project.traces.rows("SELECT port FROM port_leases WHERE state != 'held'") == []


def test_a_container_removed_behind_our_back(project: Project) -> None:
    """After `docker rm -f` of one service, `status` says what is missing and `up` makes that one again."""
    project.config(TWO)
    first = project.up()
    before = project.containers()
    project.docker("rm", "-f", before["redis"])
    status = project.run("status", "--format", "json")
    assert status.json["state"] == "degraded"
    assert status.json["services"]["redis"]["state"] == "absent"
    assert project.up()["variables"] == first["variables"]
    assert project.containers()["side"] == before["side"]


def test_a_stopped_container_keeps_its_address(project: Project) -> None:
    """After `docker stop` and `docker restart` the URL is the same, and `up` brings back what stands still."""
    project.config(REDIS)
    url = project.up()["variables"]["REDIS_URL"]
    container = project.containers()["redis"]
    project.docker("stop", "--time", "0", container)
    assert project.run("status", "--format", "json").json["state"] == "stopped"
    assert project.up()["variables"]["REDIS_URL"] == url
    assert project.containers()["redis"] == container, "the same container was started again"
    project.docker("restart", "--time", "0", container)
    assert project.up()["variables"]["REDIS_URL"] == url
    with Redis.from_url(url) as redis:
        assert redis.ping()


def test_a_paused_container_is_no_ready_one(project: Project) -> None:
    """A paused service is told as such, and `up` makes it answer again."""
    project.config(REDIS)
    url = project.up()["variables"]["REDIS_URL"]
    project.docker("pause", project.containers()["redis"])
    assert project.run("status", "--format", "json").json["services"]["redis"]["state"] == "paused"
    assert project.up()["variables"]["REDIS_URL"] == url
    with Redis.from_url(url) as redis:
        assert redis.ping()


def test_a_removed_network_is_made_again(project: Project) -> None:
    """When somebody removed containers and network (`docker system prune`), `up` makes both again."""
    project.config(REDIS)
    first = project.up()
    project.docker("rm", "-f", project.containers()["redis"])
    project.docker("network", "rm", f"envctl-{first['environment']}")
    assert project.up()["variables"] == first["variables"]
    assert {thing.noun for thing in project.labelled()} == {"container", "network", "volume"}


def test_export_changes_without_a_restart(project: Project) -> None:
    """A changed `export` shows in the variables at the next `up`, and no container is touched."""
    project.config(REDIS)
    project.up()
    before = project.containers()
    project.config(REDIS + 'export: {CACHE_URL: "{redis.url}"}\n')
    variables = project.up()["variables"]
    assert variables["CACHE_URL"] == variables["REDIS_URL"]
    assert _variables(project)["CACHE_URL"] == variables["REDIS_URL"]
    assert project.containers() == before


def test_another_postgres_version_discards_what_it_cannot_read(project: Project) -> None:
    """Another Postgres version starts with an empty database instead of failing on the old one's files."""
    project.config("services: {postgres: {image: 'postgres:17'}}")
    with psycopg.connect(project.up()["variables"]["DATABASE_URL"]) as postgres:
        postgres.execute("CREATE TABLE old ()")
    project.config("services: {postgres: {image: 'postgres:18'}}")
    with psycopg.connect(project.up()["variables"]["DATABASE_URL"]) as postgres:
        assert postgres.info.server_version // 10000 == 18
        assert postgres.execute("SELECT to_regclass('old')").fetchone() == (None,)


def test_without_git(project: Project) -> None:
    """A folder without git has an environment too."""
    folder = project.folder / "plain"
    folder.mkdir()
    (folder / "envctl.yaml").write_text(REDIS)
    report = project.up(cwd=folder)
    assert (report["project"], report["branch"]) == ("plain", "")
    assert project.run("down", check=True, cwd=folder)
    project.assert_nothing_left()


def test_env_output_file(project: Project) -> None:
    """`env --output` writes a private file that a shell reads back."""
    project.config(REDIS)
    report = project.up()
    file: Path = project.folder / "env"
    project.run("env", "--format", "json", "--output", str(file), check=True)
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text()) == report["variables"]
