"""What every engine must keep when something goes wrong: a clear error, and nothing left."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
from contextlib import suppress

import pytest
from harness import Project, eventually

REDIS = "services: {redis: {}}\n"
# Starts, and is never ready: it does not say this.
NEVER_READY = "services: {side: {kind: redis, ready: {log: no such line}}}\n"


@pytest.mark.provokes("SERVICE_EXITED")
def test_a_service_that_fails(project: Project) -> None:
    """A service that ends at its start fails `up` with its own words; all is rolled back."""
    project.config("services: {redis: {}, postgres: {command: ['-c', 'nonsense=1']}}\n")
    error = project.error("up")
    assert (error["code"], error["exit"], error["subject"]["service"]) == ("SERVICE_EXITED", 80, "postgres")
    assert error["subject"]["exit_code"] == 1
    assert 'unrecognized configuration parameter "nonsense"' in "\n".join(error["evidence"])
    assert error["leftovers"] == []
    assert "rolled back" in error["state"]
    project.assert_nothing_left()
    assert "nonsense" in project.run("logs", "postgres", check=True).out, "its log is kept"


@pytest.mark.provokes("SERVICE_NOT_READY")
def test_a_service_that_is_never_ready(project: Project) -> None:
    """A service that is not ready in time fails `up` soon after that time; all is rolled back."""
    project.config(NEVER_READY)
    error = project.error("up", "--timeout", "1500ms")
    assert (error["code"], error["exit"], error["subject"]["service"]) == ("SERVICE_NOT_READY", 80, "side")
    assert error["leftovers"] == []
    project.assert_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_up(project: Project, number: signal.Signals) -> None:
    """A signal while `up` waits ends it with 128 + signal, and all that was begun is gone by then."""
    project.config(NEVER_READY)
    process = project.start("up", "--format", "json")
    assert eventually(lambda: "side" in project.instances(), limit_s=60)
    if number is signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    error = json.loads(err.splitlines()[-1])["error"]
    assert (error["code"], error["leftovers"]) == ("INTERRUPTED", [])
    project.assert_nothing_left()


def test_a_failure_leaves_what_was_there(project: Project) -> None:
    """When a service that was added fails, the services that ran before go on untouched."""
    project.config(REDIS)
    project.up()
    before = project.instances()
    project.config("services: {redis: {}, side: {kind: redis, ready: {log: no such line}}}\n")
    assert project.error("up", "--timeout", "1500ms")["code"] == "SERVICE_NOT_READY"
    assert project.instances()["redis"] == before["redis"]
    project.config(REDIS)
    project.up()
    assert project.instances() == before
    project.run("down", check=True)
    project.assert_nothing_left()


@pytest.mark.parametrize("seed", range(2))
def test_kill_of_up_at_any_moment(project: Project, seed: int) -> None:
    """Killed again and again at random moments, `up` never gets into a dead end: `up` and `down` put all right."""
    project.config(REDIS)
    moments = random.Random(seed)
    usual_s = project.run("up", check=True).seconds
    project.run("down", check=True)
    for _ in range(3):
        process = project.start("up")
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=moments.uniform(0.1, 1.0) * usual_s)
        process.kill()
        process.communicate()
    if seed % 2:
        assert project.up()["state"] == "ready"
        assert set(project.instances()) == {"redis"}
    project.run("down", check=True)
    project.assert_nothing_left()


@pytest.mark.parametrize("seed", range(2))
def test_kill_of_down_at_any_moment(project: Project, seed: int) -> None:
    """Killed at a random moment, `down` is finished by the next command."""
    project.config("services: {redis: {}, side: {kind: redis}}\n")
    moments = random.Random(seed)
    project.up()
    for _ in range(2):
        process = project.start("down")
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=moments.uniform(0.1, 0.6))
        process.kill()
        process.communicate()
    if seed % 2:
        assert project.up()["state"] == "ready"
        assert set(project.instances()) == {"redis", "side"}
    project.run("down", check=True)
    project.assert_nothing_left()


@pytest.mark.provokes("PORT_IN_USE")
def test_a_fixed_port_somebody_has(project: Project) -> None:
    """A fixed port is had, or refused with its holder's name before anything is created."""
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        project.config(f'services:\n  redis: {{port: "{port}:6379"}}\n')
        error = project.error("up")
        assert (error["code"], error["exit"], error["subject"]["port"]) == ("PORT_IN_USE", 81, port)
        assert str(os.getpid()) in error["message"]
        project.assert_nothing_left()
    first = project.up()
    assert first["services"]["redis"]["port"] == port
    before = project.instances()
    error = project.error("up", "--name", "second")
    assert error["code"] == "PORT_IN_USE"
    assert first["environment"] in error["message"]
    assert project.instances() == before
