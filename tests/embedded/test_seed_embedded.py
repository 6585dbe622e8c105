"""`envctl seed`: again, on top of what is there; what it leaves behind when it fails or is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psycopg
from harness import Project, eventually
from real_servers import running_valkey

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
    (project.root / "migrations").unlink(missing_ok=True)  # of the up, unless it found data that was prepared before
    project.run("seed", "postgres", "--migrate", check=True)
    assert names(project) == ["Anna", "Anna", "Bert"]
    assert (project.root / "migrations").read_text() == "migrated\n"
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
    project.run("reset", check=True)
    assert (state(project), names(project)) == ("ready", ["Anna"])
    project.write("db/more.sh", "echo $$ >running; sleep 300 & wait; touch done\n")
    process = project.start("seed", "postgres")
    running = eventually(lambda: (project.root / "running").exists() and (project.root / "running").read_text())
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert eventually(lambda: not os.path.exists(f"/proc/{int(running)}"))  # noqa: PTH110 - a path of the kernel's
    assert state(project) == "dirty"
    assert project.error("seed")["code"] == "DATA_DIRTY"
    assert not (project.root / "done").exists()


def test_a_lost_registry_does_not_make_the_data_clean(project: Project) -> None:
    """Data that was half changed when the registry was lost is refused still, until it is put right; then it is not."""
    seeded(project)
    project.write("db/more.sh", "exit 3\n")
    assert "dirty" in project.error("seed", "postgres")["state"]
    before, refused = project.instances(), project.error("up")
    assert refused["code"] == "DATA_DIRTY"
    (project.state / "registry.db").unlink()
    assert project.error("up") == refused
    project.run("reset", check=True)
    assert (state(project), names(project)) == ("ready", ["Anna"])
    (project.state / "registry.db").unlink()
    project.write("db/more.sh", "true\n")
    project.up()
    assert (state(project), project.instances()) == ("ready", before)


PROGRAM = """
import envctl
with envctl.up() as env:
    env.seed("postgres", new_baseline=True)
    print([step.shown for one in env.seed() for step in one.steps])
"""


def test_a_program_seeds_and_moves_the_baseline(project: Project) -> None:
    """The Python interface does the same; a reset goes back to the baseline that was asked for."""
    seeded(project)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=project.root,
        env=project.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['db/1.sql', 'db/users.csv', 'sh db/more.sh', 'db/keys.yaml']"
    assert names(project) == ["Anna"] * 3
    project.run("reset", check=True)
    assert names(project) == ["Anna"] * 2


def test_anothers_server_is_not_seeded(project: Project) -> None:
    """A server that took the address is refused (78) before anything is put into it."""
    known = seeded(project).up()["variables"]
    project.kill("redis")
    with running_valkey(project.root, "--requirepass", "another", port=int(known["REDIS_PORT"])):
        eventually(lambda: project.error("seed", "redis")["code"] != "DATA_FAILED")
        error = project.error("seed")
    assert (error["code"], error["exit"]) == ("FOREIGN_SERVER", 78)
    assert names(project) == ["Anna"]
