"""Several environments at once, of one checkout and of several."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from harness import Project
from redis import Redis

_MANY, _AT_ONCE = 30, 4


def test_two_at_once(make_embedded: Callable[..., Project]) -> None:
    """Two projects that come up and go at the same moment, with an empty cache, get in each other's way in nothing."""
    projects = [make_embedded(), make_embedded()]
    cache = str(projects[0].folder / "cache")
    for project in projects:
        project.environ["ENVCTL_CACHE_DIR"] = cache
        project.config("services: {postgres: {}, redis: {}}\n")
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(Project.up, projects))
        assert len({service["port"] for report in reports for service in report["services"].values()}) == 4
        for report in reports:
            with psycopg.connect(report["variables"]["DATABASE_URL"], autocommit=True) as postgres:
                postgres.execute("CREATE TABLE mine ()")
        list(pool.map(lambda project: project.run("down", check=True), projects))
    for project in projects:
        project.assert_nothing_left()


@pytest.mark.timeout(300)
def test_thirty_at_once(project: Project) -> None:
    """Thirty environments of one checkout stand side by side, each with its own data; `down --all` ends them all."""
    project.config("services: {redis: {}}\n")

    def up(number: int) -> dict[str, Any]:
        return project.up("--name", f"n{number}")

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        reports = list(pool.map(up, range(_MANY)))
    assert len({report["services"]["redis"]["port"] for report in reports}) == _MANY
    assert len({report["services"]["redis"]["password"] for report in reports}) == _MANY
    for report in reports:
        with Redis.from_url(report["variables"]["REDIS_URL"], decode_responses=True) as redis:
            assert redis.keys() == []
            redis.set("who", report["environment"])
    listed = project.run("ls", "--format", "json", check=True).json["environments"]
    assert sorted(one["environment"] for one in listed) == sorted(report["environment"] for report in reports)
    assert {one["state"] for one in listed} == {"ready"}
    project.run("down", "--all", check=True)
    project.assert_nothing_left()
