"""What every engine must keep for data that is prepared once: made for its inputs, whole or not at all, used by all."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import prepared_images
import psycopg
import pytest
from harness import Project, Result, eventually

from envctl.host import locks

CONFIG = """
snapshots: {max_size: 1g}
services:
  postgres:
    migrate: {command: [PYTHON, migrate.py], inputs: [migrate.py, "schema/**"]}
    seed: [fixtures/users.sql]
""".replace("PYTHON", sys.executable)

MIGRATE = """
import os, pathlib, sys, psycopg
with open(os.environ["RUNS"], "a") as file:
    file.write(os.environ["ENVCTL_ENV"] + "\\n")
gate = os.environ.get("GATE")
while gate and not os.path.exists(gate):
    os.sched_yield()
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    for file in sorted(pathlib.Path("schema").iterdir()):
        try:
            connection.execute(file.read_text())
        except psycopg.Error as error:
            sys.exit(f"{file}: {error}")
"""


@pytest.fixture
def seeded(project: Project, tmp_path: Path) -> Iterator[Project]:
    """A project whose database has one migrated table and one seeded row; RUNS tells each run of the migration."""
    project.environ |= {"RUNS": str(tmp_path / "runs"), "ENVCTL_CACHE_DIR": str(project.folder / "cache")}
    _write(project)
    yield project
    if project.traces.containers:
        project.run("down", "--all")
        prepared_images.remove(prepared_images.of_session(project.folder))


def _write(project: Project) -> None:
    project.config(CONFIG)
    project.write("migrate.py", MIGRATE)
    project.write("schema/1.sql", "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);")
    project.write("fixtures/users.sql", "INSERT INTO users VALUES (1, 'Ada');")


def runs(project: Project) -> int:
    """How often the migration was run."""
    file = Path(project.environ["RUNS"])
    return len(file.read_text().splitlines()) if file.exists() else 0


def users(report: dict[str, object]) -> list[str]:
    """What the environment's database holds."""
    with psycopg.connect(report["variables"]["DATABASE_URL"]) as connection:  # type: ignore[index]  # it is there
        return [name for (name,) in connection.execute("SELECT name FROM users ORDER BY id")]


def test_data_is_made_once_for_every_branch(seeded: Project) -> None:
    """The first `up` migrates and seeds; later ones, of any branch, start from that with passwords of their own."""
    plan = seeded.run("up", "--dry-run", check=True).out
    assert "prepare" in plan
    first = seeded.up()
    assert (users(first), runs(seeded)) == (["Ada"], 1)
    before = seeded.instances()
    seeded.up()
    assert seeded.instances() == before
    other = seeded.up("--branch", "other")
    assert (users(other), runs(seeded)) == (["Ada"], 1)
    assert other["services"]["postgres"]["password"] != first["services"]["postgres"]["password"]
    with psycopg.connect(first["variables"]["DATABASE_URL"]) as connection:
        connection.execute("INSERT INTO users VALUES (2, 'Bob')")
    assert (users(first), users(other)) == (["Ada", "Bob"], ["Ada"])
    seeded.run("down", "--all", check=True)
    assert (users(seeded.up()), runs(seeded)) == (["Ada"], 1)


def test_a_changed_input_makes_new_data_and_is_named(seeded: Project) -> None:
    """After a change the data is made anew, and the changed file is named; going back runs nothing again."""
    old = seeded.up()
    seeded.write("fixtures/users.sql", "INSERT INTO users VALUES (1, 'Eve');")
    plan = seeded.run("up", "--dry-run", check=True).out
    assert "fixtures/users.sql changed" in plan
    assert re.findall(r"start +postgres +(.*)", plan) == ["changed: data"]
    result = seeded.run("up", check=True)
    assert "fixtures/users.sql changed" in result.err
    report = seeded.up()
    assert (users(report), runs(seeded)) == (["Eve"], 2)
    assert report["services"]["postgres"]["port"] == old["services"]["postgres"]["port"]
    _write(seeded)
    assert (users(seeded.up()), runs(seeded)) == (["Ada"], 2)
    seeded.up("--fresh")
    assert runs(seeded) == 3
    if seeded.traces.containers:
        known = prepared_images.of_session(seeded.folder)
        assert prepared_images.of_same_store(known[0]) == set(known), "an image that was replaced goes"


@pytest.mark.provokes("MIGRATION_FAILED")
def test_a_failing_migration_leaves_nothing(seeded: Project) -> None:
    """Nothing that was half prepared is ever used: the error tells the command's words, and nothing is left."""
    seeded.write("schema/2.sql", "CREATE TABLE oops (id nonsense);")
    error = seeded.error("up")
    assert (error["code"], error["exit"]) == ("MIGRATION_FAILED", 86)
    assert any("nonsense" in line for line in error["evidence"])
    seeded.assert_nothing_left()
    shutil.rmtree(seeded.root / "schema")
    _write(seeded)
    assert (users(seeded.up()), runs(seeded)) == (["Ada"], 2)


def test_many_want_the_same_at_once(seeded: Project) -> None:
    """One process makes the data, the others wait for it, and all start from it."""
    started = [seeded.start("up", "--format", "json", "--branch", f"b{number}") for number in range(5)]
    for process in started:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert users(Result(0, out, err, 0.0, ("up",)).json) == ["Ada"]
    assert runs(seeded) == 1


def test_killed_while_it_migrates(seeded: Project, tmp_path: Path) -> None:
    """`kill -9` in the middle of the making leaves nothing that a later `up` would take for data."""
    seeded.environ["GATE"] = str(tmp_path / "gate")
    process = seeded.start("up")
    assert eventually(lambda: runs(seeded) == 1, limit_s=60)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    (tmp_path / "gate").touch()
    assert (users(seeded.up()), runs(seeded)) == (["Ada"], 2)


def test_what_killed_makers_have_left(seeded: Project) -> None:
    """What makers have left that were killed before they had marked it goes with the next one, or `snapshot rm`."""
    seeded.up()
    (whole,) = (seeded.folder / "cache" / "prepared").iterdir()
    left = whole.with_name("f" * 32)
    seeded.write("fixtures/users.sql", "INSERT INTO users VALUES (1, 'Eve');")
    for command in (("up",), ("snapshot", "rm", whole.name)):
        left.mkdir()
        images = [image for image in prepared_images.of_session(seeded.folder) if whole.name[:16] in image]
        for image in images:
            seeded.docker("image", "tag", image, f"{image}-left")
        seeded.run(*command, check=True)
        assert not left.exists()
        for image in images:
            assert not seeded.docker("image", "ls", "--quiet", f"{image}-left")
        assert bool(images) == seeded.traces.containers
    assert users(seeded.up()) == ["Eve"]


def test_who_starts_from_data_anew_keeps_it(seeded: Project) -> None:
    """Prepared data that somebody holds, to start from it, is not removed meanwhile; `snapshot rm` says so."""
    seeded.up()
    (whole,) = (seeded.folder / "cache" / "prepared").iterdir()
    seeded.run("down", check=True)
    with locks.machine_lock(whole.parent.parent, f"prepare-{whole.name}", timeout_s=0, purpose="a test"):
        assert seeded.error("snapshot", "rm", whole.name)["code"] == "ENVIRONMENT_IN_USE"
        assert users(seeded.up()) == ["Ada"]
    seeded.run("down", check=True)
    seeded.run("snapshot", "rm", whole.name, check=True)
    assert runs(seeded) == 1


def test_what_persists_is_seeded_where_it_is(seeded: Project) -> None:
    """Data that persists is seeded once, in its place; it survives `down`, and only new migrations run again."""
    seeded.config(CONFIG.replace("    seed:", "    persist: true\n    seed:"))
    assert (users(seeded.up()), runs(seeded)) == (["Ada"], 1)
    with psycopg.connect(seeded.up()["variables"]["DATABASE_URL"]) as connection:
        connection.execute("INSERT INTO users VALUES (2, 'Bob')")
    seeded.run("down", check=True)
    assert (users(seeded.up()), runs(seeded)) == (["Ada", "Bob"], 1)
    seeded.write("schema/1.sql", "CREATE TABLE IF NOT EXISTS users (id int); ALTER TABLE users ADD COLUMN age int;")
    assert (users(seeded.up()), runs(seeded)) == (["Ada", "Bob"], 2)
