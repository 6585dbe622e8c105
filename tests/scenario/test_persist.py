"""`persist: true`: data that survives `down`."""

from __future__ import annotations

import psycopg
import pytest
from harness import Project
from redis import Redis


@pytest.mark.provokes("NO_ENVIRONMENT")
def test_postgres_data_survives(project: Project) -> None:
    """The data is there at the next `up`, with the same password, until `--purge`."""
    project.config("services: {postgres: {persist: true}}")
    first = project.up()["variables"]
    with psycopg.connect(first["DATABASE_URL"]) as postgres:
        postgres.execute("CREATE TABLE kept AS SELECT 7 AS n")
    removed = project.run("down", "--format", "json", check=True).json
    assert len(removed["kept"]) == 1
    assert [thing.noun for thing in project.labelled()] == ["volume"]
    assert project.error("env")["code"] == "NO_ENVIRONMENT"
    second = project.up()["variables"]
    assert second["PGPASSWORD"] == first["PGPASSWORD"]
    with psycopg.connect(second["DATABASE_URL"]) as postgres:
        assert postgres.execute("SELECT n FROM kept").fetchone() == (7,)
    project.run("down", "--purge", check=True)
    project.assert_nothing_left()


def test_only_what_persists_is_kept(project: Project) -> None:
    """Beside a service that persists, another's data goes; a later `down --purge` takes the rest."""
    project.config("services: {redis: {persist: true}, cache: {kind: redis}}")
    before = project.up()["variables"]
    for name in ("REDIS", "CACHE"):
        with Redis.from_url(before[f"{name}_URL"]) as redis:
            redis.set("who", name)
    project.run("down", "--all", check=True)
    volumes = [thing.name for thing in project.labelled()]
    assert [volume.rsplit("_", 1)[1] for volume in volumes] == ["redis-data"]
    after = project.up()["variables"]
    with Redis.from_url(after["REDIS_URL"], decode_responses=True) as redis:
        assert redis.get("who") == "REDIS"
    with Redis.from_url(after["CACHE_URL"]) as redis:
        assert redis.get("who") is None
    project.run("down", check=True)
    project.run("down", "--purge", check=True)
    project.assert_nothing_left()


@pytest.mark.parametrize("how", ["change", "remove"])
def test_data_that_persists_is_not_discarded_by_a_change(project: Project, how: str) -> None:
    """A changed definition, or a container somebody removed, leaves data that persists in place."""
    project.config("services: {redis: {persist: true}}")
    with Redis.from_url(project.up()["variables"]["REDIS_URL"]) as redis:
        redis.set("n", 7)
    if how == "change":
        project.config("services: {redis: {persist: true, memory: 300m}}")
    else:
        project.docker("stop", project.containers()["redis"])
        project.docker("rm", project.containers()["redis"])
    with Redis.from_url(project.up()["variables"]["REDIS_URL"]) as redis:
        assert redis.get("n") == b"7"


def test_a_failed_up_keeps_the_data(project: Project) -> None:
    """A failed `up` is rolled back except for data that persists from before."""
    good = "services: {redis: {persist: true}}"
    project.config(good)
    with Redis.from_url(project.up()["variables"]["REDIS_URL"]) as redis:
        redis.set("n", 7)
    project.run("down", check=True)
    project.config("services: {redis: {persist: true}, bad: {image: busybox, command: ['false']}}")
    assert project.error("up")["code"] == "SERVICE_EXITED"
    project.config(good)
    with Redis.from_url(project.up()["variables"]["REDIS_URL"]) as redis:
        assert redis.get("n") == b"7"
