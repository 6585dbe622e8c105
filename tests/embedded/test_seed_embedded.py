"""`envctl seed`: again, on top of what is there; what it leaves behind when it fails or is killed."""

from __future__ import annotations

import os
import signal

import psycopg
from harness import Project, eventually

CONFIG = """
services:
  postgres:
    migrate: {command: "echo migrated >>../migrations", cwd: db, inputs: [db/**]}
    seed: [db/*.sql, db/users.csv, {command: "sh db/more.sh", inputs: [db/**]}]
  redis: {seed: db/keys.yaml}
"""


def seeded(project: Project) -> Project:
    """A project that is up, and seeded once."""
    project.write("db/1.sql", "CREATE TABLE IF NOT EXISTS users (id serial, name text);\n")
    project.write("db/users.csv", "name\nAnna\n")
    project.write("db/more.sh", "true\n")
    project.write("db/keys.yaml", "greeting: hello\n")
    project.allow_files("migrations", "running")
    project.config(CONFIG)
    project.up()
    return project


def names(project: Project) -> list[str]:
    with psycopg.connect(project.run("url", "postgres", check=True).out.strip()) as link:
        return [name for (name,) in link.execute("SELECT name FROM users ORDER BY id")]


def state(project: Project) -> str:
    return str(project.run("status", "--format", "json").json["state"])


def test_seeds_are_applied_again(project: Project) -> None:
    """Of all services or of one, with migrations where they are asked for; a first step that fails changes nothing."""
    seeded(project)
    done = project.run("seed", "--format", "json", check=True).json["services"]
    assert [len(done[name]["steps"]) for name in ("postgres", "redis")] == [3, 1]
    project.write("db/users.csv", "name\nBert\n")
    project.run("seed", "postgres", "--migrate", check=True)
    assert names(project) == ["Anna", "Anna", "Bert"]
    assert (project.root / "migrations").read_text().splitlines() == ["migrated"] * 2
    project.write("db/1.sql", "DELETE FROM users;\nSELEC 1;\n")
    error = project.error("seed", "postgres", "redis")
    assert (error["code"], error["exit"], error["subject"]["line"]) == ("SEED_FAILED", 86, 2)
    assert error["message"] == "seed db/1.sql:2 failed"
    assert (state(project), names(project)) == ("ready", ["Anna", "Anna", "Bert"])
    assert project.error("seed", "nosuch")["code"] == "NO_SERVICE"


def test_a_seed_that_stops_half_way_leaves_the_data_dirty(project: Project) -> None:
    """Whether its command fails or all of it is killed: the environment is refused, and nothing of it goes on."""
    seeded(project)
    project.write("db/more.sh", "exit 3\n")
    error = project.error("seed", "postgres")
    assert (error["code"], error["subject"]["exit_code"]) == ("SEED_FAILED", 3)
    assert "dirty" in error["state"]
    assert state(project) == "dirty"
    assert project.error("seed")["code"] == "DATA_DIRTY"
    assert project.error("up")["code"] == "DATA_DIRTY"

    project.write("db/more.sh", "true\n")
    project.up("--fresh")
    project.write("db/more.sh", "echo $$ >running; sleep 300 & wait; touch done\n")
    process = project.start("seed", "postgres")
    running = eventually(lambda: (project.root / "running").exists() and (project.root / "running").read_text())
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert eventually(lambda: not os.path.exists(f"/proc/{int(running)}"))  # noqa: PTH110
    assert state(project) == "dirty"
    assert project.error("seed")["code"] == "DATA_DIRTY"
    assert not (project.root / "done").exists()
