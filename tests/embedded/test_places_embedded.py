"""Odd machines and damaged data: long paths, no locale, no HOME, no TMPDIR, another user, a full disk, half a copy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from pwd import getpwnam

import psycopg
import pytest
from harness import Project
from redis import Redis
from surroundings import disk, give_away, python_for_everybody

ALL = "services: {postgres: {}, redis: {}, websocket: {}}\n"
BOTH = "services: {postgres: {}, redis: {}}\n"


def _works(project: Project) -> None:
    """The whole way of an environment."""
    env = project.up()["variables"]
    with psycopg.connect(env["DATABASE_URL"]) as postgres, Redis.from_url(env["REDIS_URL"]) as redis:
        assert postgres.execute("SELECT 'ä' || upper('b')").fetchone() == ("äB",)
        assert redis.ping()
    assert project.run("psql", "-Atc", "SELECT 1", check=True).out == "1\n"
    assert project.run("redis-cli", "ping", check=True).out == "PONG\n"
    project.run("down", check=True)
    project.assert_nothing_left()


def test_paths_longer_than_a_socket_s(project: Project) -> None:
    """Folders whose paths are longer than the 107 bytes of a Unix socket's are no obstacle."""
    long = Path("s" * 80, "t" * 80)
    project.move(state=project.folder / "state-of" / long / "state", run=project.folder / "run-of" / long / "run")
    for folder in (project.folder / "run-of").rglob("*"):
        folder.chmod(0o711)
    project.config(BOTH)
    _works(project)


def _missing_locale(project: Project) -> None:
    project.environ |= dict.fromkeys(("LANG", "LC_ALL", "LC_MESSAGES"), "xx_YY.UTF-8")


def _no_locale(project: Project) -> None:
    for name in [name for name in project.environ if name == "LANG" or name.startswith("LC_")]:
        del project.environ[name]


def _no_tmpdir(project: Project) -> None:
    del project.environ["TMPDIR"]


def _tmpdir_that_is_gone(project: Project) -> None:
    project.environ["TMPDIR"] = str(project.folder / "gone")


def _no_home(project: Project) -> None:
    for name in ("HOME", "USER", "LOGNAME", "ENVCTL_CACHE_DIR"):
        project.environ.pop(name, None)


def _narrow_umask(project: Project) -> None:
    project.command = ["sh", "-c", 'umask 0077; exec "$0" "$@"', *project.command]


@pytest.mark.parametrize(
    "lack", [_missing_locale, _no_locale, _no_tmpdir, _tmpdir_that_is_gone, _no_home, _narrow_umask]
)
def test_surroundings(project: Project, lack: Callable[[Project], None]) -> None:
    """An environment needs no locale, no TMPDIR, no HOME, and no certain umask."""
    project.config(BOTH)
    lack(project)
    _works(project)


@pytest.fixture
def python_of_others(projects_folder: Path) -> Iterator[str]:
    """A Python that every user can run."""
    with python_for_everybody(projects_folder / f"python-{os.getpid()}") as python:
        yield python


@pytest.fixture
def project_of_others(python_of_others: str, make_embedded: Callable[[], Project]) -> Project:
    """A project of an ordinary user; where we are root, of nobody."""
    project = make_embedded()
    project.config(BOTH)
    if give_away(project, python_of_others):
        project.config(ALL)
    return project


def test_an_ordinary_user(project_of_others: Project) -> None:
    """Nothing needs root: the services run as the user who called, and their data is in the state directory."""
    project = project_of_others
    project.up()
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in project.processes()}
    assert owners == {getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()}
    assert not list(project.traces.run.iterdir()), "no data lies outside of the state directory"
    _works(project)


@pytest.mark.root
def test_servers_of_root_are_not_root(project: Project) -> None:
    """Where we are root, Postgres and Redis run as another user, who cannot read the state directory."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    project.config(ALL)
    project.up()
    for name in ("postgres", "redis"):
        assert Path(f"/proc/{project.first_processes()[name].pid}").stat().st_uid != 0, name
    assert project.state.stat().st_mode & 0o077 == 0


# -- data ------------------------------------------------------------------------------------------------------------


def _data(project: Project, service: str) -> Path:
    (found,) = [*project.traces.run.glob(f"*/*/{service}"), *project.state.glob(f"stacks/*/{service}/data")]
    return found


@pytest.mark.parametrize("lost", ["envctl.json", "everything but PG_VERSION", "global"])
def test_data_that_is_half_there(project: Project, lost: str) -> None:
    """A data folder that was never finished, or lost its files, is made again for a database that is thrown away."""
    project.config("services: {postgres: {}}\n")
    project.up()
    project.kill("postgres")
    data = _data(project, "postgres")
    keep = {"PG_VERSION", "postmaster.pid"} if lost.startswith("everything") else set(os.listdir(data)) - {lost}  # noqa: PTH208 - names are wanted
    for entry in data.iterdir():
        if entry.name in keep:
            continue
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    if lost == "envctl.json":  # the mark of a finished copy: a killed `up` has not written it, and started nothing
        (data / "postmaster.opts").unlink()
    if lost == "global":
        assert project.error("up")["subject"]["service"] == "postgres"
        project.run("down", check=True)
        project.assert_nothing_left()
    with psycopg.connect(project.up()["variables"]["DATABASE_URL"]) as postgres:
        assert postgres.execute("SELECT 1").fetchone() == (1,)
    project.run("down", check=True)
    project.assert_nothing_left()


def test_a_damaged_cache(project: Project) -> None:
    """A prepared cluster whose bytes were changed is not used; another is made."""
    project.environ["ENVCTL_CACHE_DIR"] = str(project.folder / "cache")
    project.config("services: {postgres: {}}\n")
    project.up()
    project.run("down", check=True)
    (content,) = (project.folder / "cache").glob("clusters/*/content")
    with content.open("r+b") as file:
        file.seek(content.stat().st_size // 2)
        file.write(b"damaged" * 1000)
    with psycopg.connect(project.up()["variables"]["DATABASE_URL"]) as postgres:
        assert postgres.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.root
@pytest.mark.parametrize("size", ["2m", "20m"])
def test_a_full_disk(project: Project, size: str) -> None:
    """With no room for the data `up` says so and leaves nothing; with room again it works."""
    with disk(project.folder / "small", size) as small:
        project.move(run=small / "run")
        project.config(BOTH)
        error = project.error("up")
        assert error["exit"] in (73, 84), error
        assert "the disk is full" in error["cause"], error
        assert error["leftovers"] == []
        project.assert_nothing_left()
        usage = shutil.disk_usage(small)
        assert usage.used < 1024**2, "what was begun takes no room"
    project.move(run=project.folder / "large")
    _works(project)


SEEDED = """
services:
  postgres: {seed: [rows.sql]}
"""
ROWS = "CREATE TABLE rows AS SELECT n, repeat(md5(n::text), 30) AS text FROM generate_series(1, {number}) AS n;"


@pytest.mark.root
@pytest.mark.parametrize("full", ["run", "cache"])
def test_a_disk_that_fills_while_data_is_prepared(project: Project, full: str) -> None:
    """Nothing half prepared is left where the data does not fit, or its snapshot; smaller data works."""
    project.config(SEEDED)
    project.write("rows.sql", ROWS.format(number=200_000))
    with disk(project.folder / "small", "120m") as small:
        project.environ["ENVCTL_CACHE_DIR"] = str((small if full == "cache" else project.folder) / "cache")
        project.move(run=(small if full == "run" else project.folder) / "run of it")
        error = project.error("up")
        assert error["code"] == {"run": "SEED_FAILED", "cache": "CANNOT_WRITE"}[full]
        assert "No space left" in error["cause"] or "the disk is full" in error["cause"], error
        project.assert_nothing_left()
        assert shutil.disk_usage(small).used < 60 * 1024**2, "what was begun takes no room"
        project.write("rows.sql", ROWS.format(number=200))
        assert project.up()["state"] == "ready"
        project.run("down", check=True)
        project.assert_nothing_left()
