"""`kill -9` at every step of `up` and `down`: one command afterwards puts everything right."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
from contextlib import suppress
from typing import Any

import pytest
from faults import CountingDocker, engine_proxy, processes
from harness import Project, eventually

REDIS = "services:\n  redis: {}\n"

# Every call of docker that `up` makes, and all that `up` and `down` ask of the engine; looks side by side count as one.
# What changes something is also left to go on alone after the kill. A test below fails when one is missing here.
UP = [("before", "down"), ("orphaned", "up"), ("orphaned", "down"), ("after", "up")]
UP_ASKS = ["GET /version", "GET /containers/json", "GET /images/json", "GET /events"]
DOWN = [
    *(("GET /containers/json", "killed"), ("POST /containers/kill", "killed"), ("POST /containers/kill", "orphaned")),
    *(("DELETE /containers", "orphaned"), ("DELETE /networks", "orphaned"), ("DELETE /volumes", "orphaned")),
    *(("POST /networks/disconnect", "orphaned"), ("GET /images/json", "killed")),
]
BESIDE = {"GET /networks", "GET /volumes"}


def _pattern(order: str) -> str:
    """What the engine is asked, as it is found in a request: it has names where `_order` has none."""
    return re.sub("/(kill|disconnect)$", r"/[0-9a-f]+/\1", order).replace("/images/json", "/images/.*json")


def _converged_up(project: Project) -> dict[str, Any]:
    """One `up` must end with exactly one container for each service, and the answer of another `up` the same."""
    report = project.up()
    assert report["state"] == "ready"
    things = [(thing.noun, thing.name) for thing in project.labelled()]
    assert sorted(noun for noun, _ in things) == ["container", "network", "volume"], things
    return report


def _converge(project: Project, command: str) -> None:
    if command == "up":
        _converged_up(project)
        project.run("down", check=True)
    else:
        project.run("down", check=True)
    project.assert_nothing_left()


@pytest.mark.parametrize(("mode", "next_command"), UP)
def test_kill_of_up(project: Project, mode: str, next_command: str) -> None:
    """Killed before or after Compose works for it, or while it goes on alone: one command puts everything right."""
    project.config(REDIS)
    killed = project.run("up", env=CountingDocker.of(project).kill_at("compose", mode))
    assert killed.code == -signal.SIGKILL, str(killed)
    _converge(project, next_command)


@pytest.mark.parametrize("order", UP_ASKS)
def test_kill_of_up_that_asks(project: Project, order: str) -> None:
    """Wherever `up` is killed that asks the engine something, the next one makes everything."""
    project.config(REDIS)
    with engine_proxy(project) as proxy:
        project.environ |= proxy.environ
        proxy.break_call(_pattern(order), "killed")
        killed = project.run("up")
        assert killed.code == -signal.SIGKILL, str(killed)
        _converge(project, "up")


@pytest.mark.parametrize(("order", "mode"), DOWN)
def test_kill_of_down(project: Project, order: str, mode: str) -> None:
    """Wherever `down` is killed, the next command finishes the removal, and an `up` makes everything new."""
    project.config(REDIS)
    with engine_proxy(project) as proxy:
        project.up(env=proxy.environ)
        proxy.break_call(_pattern(order), mode)
        killed = project.run("down", env=proxy.environ)
        assert killed.code == -signal.SIGKILL, str(killed)
        project.environ |= proxy.environ
        _converge(project, "down" if mode == "killed" else "up")


def _order(seen: str) -> str:
    """What the engine was asked: the method, and the path without names and options."""
    method, path = seen.partition("?")[0].split(" ")
    noun, *more = path.strip("/").split("/")
    return f"{method} /{'/'.join([noun, *(word for word in more[-1:] if word in ('json', 'kill', 'disconnect'))])}"


def test_sweep_has_every_call(project: Project) -> None:
    """The points above are all calls that `up` and `down` make: one that is new must be added there."""
    project.config(REDIS)
    docker = CountingDocker.of(project)
    with engine_proxy(project) as proxy:
        project.environ |= {**docker.environ, **proxy.environ}
        project.up()
        assert [call.split()[2] for call in docker.calls] == ["compose"]
        assert {_order(seen) for seen in proxy.own} == {*UP_ASKS} | BESIDE
        proxy.forget()
        docker.forget()
        project.run("down", check=True)
        assert {_order(seen) for seen in proxy.own} == {order for order, _ in DOWN} | BESIDE
        assert docker.calls == []


def test_down_after_a_kill_of_an_up_that_added_a_service(project: Project) -> None:
    """A container of the added service that the engine makes after the kill is gone after `down`, with its volume."""
    project.config("services:\n  box: {image: busybox, command: [sleep, '600']}\n")
    with engine_proxy(project) as proxy:
        project.environ |= proxy.environ
        project.up()
        project.config(REDIS)
        proxy.break_call("POST /containers/create", "late")
        process = project.start("up")
        assert eventually(lambda: bool(proxy.broken), limit_s=60, every_s=0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        project.run("down", check=True)
        project.assert_nothing_left()


@pytest.mark.parametrize("seed", range(2))
def test_kill_of_up_at_any_moment(project: Project, seed: int) -> None:
    """Killed again and again at random moments, also of Python's own work, `up` never gets into a dead end."""
    project.config(REDIS)
    project.up()
    project.run("down", check=True)
    moments = random.Random(seed)
    for _ in range(3):
        process = project.start("up")
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=moments.uniform(0.05, 1.2))
        process.kill()
        process.communicate()
    _converge(project, moments.choice(["up", "down"]))


def _compose_children(project: Project) -> list[int]:
    """Processes of `docker compose` that work for the project."""
    return processes("--project-name", str(project.state))


def _start_until_compose(project: Project, *args: str) -> subprocess.Popen[str]:
    """An `up` whose Compose has begun to create things."""
    process = project.start("up", *args)
    assert eventually(lambda: any(thing.noun == "network" for thing in project.labelled()), limit_s=60, every_s=0.02)
    return process


def test_compose_ends_with_its_envctl(project: Project) -> None:
    """After a `kill -9` of `up` in the middle of Compose's work no process of Compose goes on, and `down` cleans up."""
    project.config(REDIS)
    process = _start_until_compose(project)
    process.kill()
    process.communicate()
    assert eventually(lambda: not _compose_children(project), limit_s=15)
    _converge(project, "down")


def test_lock_outlives_envctl_while_compose_works(project: Project) -> None:
    """While an orphaned Compose still creates things, the lock is held: the next command waits for it."""
    project.config(REDIS)
    docker = CountingDocker.of(project)
    process = project.start("up", env=docker.kill_at("compose", "orphaned"))
    process.communicate()
    orphans = _compose_children(project)
    for orphan in orphans:
        os.kill(orphan, signal.SIGSTOP)
    try:
        if orphans and _compose_children(project) == orphans:
            busy = project.error("down", "--timeout", "500ms")
            assert busy["code"] == "ENVIRONMENT_BUSY"
    finally:
        for orphan in orphans:
            os.kill(orphan, signal.SIGCONT)
    _converge(project, "down")


def test_killed_compose_is_rolled_back(project: Project) -> None:
    """When Compose itself is killed, `up` fails with a class error of the engine and leaves nothing."""
    project.config(REDIS)
    process = _start_until_compose(project, "--format", "json")
    for child in _compose_children(project):
        os.kill(child, signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 69, out + err
    project.assert_nothing_left()


def test_build_ends_with_its_envctl(project: Project) -> None:
    """After a `kill -9` of `up` in the middle of a build the build ends too: no image appears afterwards."""
    project.write("box/Dockerfile", 'FROM busybox\nCOPY salt /salt\nRUN sleep 60\nCMD ["sleep", "600"]\n')
    project.write("box/salt", project.mark)  # so that no other build of this file is in the cache
    project.config("services:\n  box: {build: ./box, ports: {main: 8080}}\n")
    process = project.start("up")
    folder = f"{project.root}/box"
    assert eventually(lambda: processes("docker-buildx", "--load", folder), limit_s=60)
    process.kill()
    process.communicate()
    assert eventually(lambda: not processes("build", folder), limit_s=15)
    project.run("down", check=True)
    project.assert_nothing_left()
