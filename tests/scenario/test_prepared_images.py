"""Prepared data and the images that run it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import prepared_images
import psycopg
import pytest
import redis
from fake_registry import FakeRegistry, file_system, settings, with_file
from harness import Project

SEEDED = "services: {redis: {image: '%s', seed: keys.json}}\n"


@pytest.fixture
def tag(project: Project) -> Iterator[str]:
    """A name of our own for images; it and the images of the prepared data go at the end."""
    project.environ["ENVCTL_CACHE_DIR"] = str(project.folder / "cache")
    name = f"envctl-test-{project.mark}:8"
    yield name
    project.run("down", "--all")
    prepared_images.remove([*prepared_images.of_session(project.folder), name])


def test_a_name_that_was_given_to_another_image_is_noticed(project: Project, tag: str) -> None:
    """An `up` of what runs on prepared data sees that its image's name means another image now, and says so."""
    project.docker("tag", "redis:8", tag)
    project.write("keys.json", '{"a": "1"}')
    project.config(SEEDED % tag)
    project.up()
    before = project.instances()
    project.up()
    assert project.instances() == before
    project.docker("tag", "redis:7", tag)
    plan = project.run("up", "--dry-run", check=True).out
    assert re.findall(r"(?:prepare|start) +redis +(.*)", plan) == ["redis image changed", "changed: data, image id"]
    changed = project.run("up", check=True)
    assert "redis image changed" in changed.err
    report = project.up()
    with redis.Redis.from_url(report["services"]["redis"]["url"], decode_responses=True) as link:
        assert (link.get("a"), link.info("server")["redis_version"].split(".")[0]) == ("1", "7")
    project.docker("tag", "redis:8", tag)
    plan = project.run("up", "--dry-run", check=True).out
    assert re.findall(r"(prepare|start) +redis +(.*)", plan) == [("start", "changed: data, image id")]
    assert "redis image changed" in project.run("up", check=True).err, "also where the data is there already"
    project.docker("image", "rm", tag)
    before = project.instances()
    project.up()
    assert project.instances() == before, "what cannot be compared is left alone"


def test_pull_always_finds_a_newer_image(project: Project, registry: FakeRegistry, tag: str) -> None:
    """With `pull: always` the registry is asked when data is to be started from, and a newer image makes other data."""
    server, how = file_system("redis:8"), settings("redis:8")
    image = registry.add("server", with_file(server, "mark", project.mark.encode()), settings=how)
    project.write("keys.json", '{"a": "1"}')
    project.config(SEEDED % image)
    try:
        project.up()
        before, asked = project.instances(), len(registry.calls)
        registry.add("server", with_file(server, "mark", b"newer"), settings=how)
        project.up("--pull", "always")
        assert (project.instances(), len(registry.calls)) == (before, asked), "nothing was to be started"
        for policy, mark in (("missing", project.mark), ("always", "newer"), ("always", "newer")):
            project.run("down", check=True)
            project.up("--pull", policy)
            assert project.run("exec", "redis", "--", "cat", "/mark", check=True).out == mark
            assert project.run("redis-cli", "get", "a", check=True).out == "1\n"
        causes = [
            one["cause"] for one in project.run("snapshot", "ls", "--format", "json", check=True).json["snapshots"]
        ]
        assert sorted(causes) == ["redis image changed", "the first of this project"]
        registry.failures["server"], registry.forever = [404], {"server"}
        project.run("down", check=True)
        assert project.error("up", "--pull", "always")["code"] == "IMAGE_ABSENT"
    finally:
        project.run("down")
        both = project.docker("image", "ls", "--quiet", image.removesuffix(":1")).split()  # one has no tag any more
        prepared_images.remove([*prepared_images.of_session(project.folder), *both])


def test_what_is_unseeded_is_kept_where_that_is_wished(project: Project, tag: str) -> None:
    """With `unseeded` the first start of a database is kept: later ones begin after it, with nothing else in them."""
    plain = "services: {postgres: {}, redis: {}}\n"
    kept, larger = f"snapshots: {{unseeded: true}}\n{plain}", plain.replace("{}", "{memory: 900m}", 1)
    project.config(plain)
    url = project.up()["variables"]["DATABASE_URL"]
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE own ()")
    before = project.instances()
    project.config(kept)
    project.up()
    assert project.instances() == before
    project.config(f"snapshots: {{unseeded: true}}\n{larger}")
    project.up()
    with psycopg.connect(url) as connection:
        connection.execute("SELECT FROM own")  # what began without a snapshot goes on without one, with its data
    project.run("down", check=True)
    project.config(kept)
    assert re.findall(r"(prepare|start) +(.*?) +(.*)", project.run("up", "--dry-run", check=True).out) == [
        ("prepare", "postgres", "unseeded, the first of this project"),
        ("start", "postgres", "not there"),
        ("start", "redis", "not there"),
    ]
    first = project.up()
    (known,) = project.run("snapshot", "ls", "--format", "json", check=True).json["snapshots"]
    assert known["cause"] == "unseeded, the first of this project"
    assert project.error("reset", "postgres")["code"] == "NO_BASELINE"
    second = project.up("--branch", "other")
    (image,) = prepared_images.of_session(project.folder)
    used = [project.inspect("postgres")["Config"]["Image"], *project.docker("ps", "--format", "{{.Image}}").split()]
    assert used.count(image) == 3
    for report in (first, second):
        with psycopg.connect(report["variables"]["DATABASE_URL"]) as connection:
            assert connection.execute("SELECT count(*) FROM pg_class WHERE relname = 'own'").fetchone() == (0,)
            connection.execute("CREATE TABLE own ()")
    assert first["services"]["postgres"]["password"] != second["services"]["postgres"]["password"]
    project.config(f"snapshots: {{unseeded: true}}\n{larger}")
    plan = project.run("up", "--dry-run", check=True).out
    assert re.findall(r"start +postgres +(.*)", plan) == ["changed: memory; it begins again with prepared data"]
