"""Signals at any moment: everything is put back, and the exit code says which signal it was."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Callable

import pytest
from faults import EngineProxy, engine_proxy, processes
from harness import Project, eventually

REDIS = "services:\n  redis: {}\n"
# Starts, and is never ready: nothing listens on its port.
NEVER_READY = 'services:\n  box: {image: busybox, command: ["sleep", "600"], ports: {main: 8080}, ready: {tcp: main}}\n'
BUILDS_SLOWLY = "services:\n  box: {build: ./box, ports: {main: 8080}}\n"
DOCKERFILE = 'FROM busybox\nCOPY salt /salt\nRUN sleep 60\nCMD ["sleep", "600"]\n'
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def _interrupt(process: subprocess.Popen[str], number: signal.Signals, *, group: bool) -> tuple[int, str]:
    """Send the signal, to the whole group as a terminal does or to envctl alone; exit code and stderr."""
    if group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, err = process.communicate(timeout=90)
    return process.returncode, err


def _has(project: Project, noun: str) -> Callable[[], bool]:
    return lambda: any(thing.noun == noun for thing in project.labelled())


def _asked(proxy: EngineProxy, order: str) -> Callable[[], bool]:
    return lambda: any(seen.startswith(order) for seen in proxy.seen)


@pytest.mark.provokes("INTERRUPTED")
@pytest.mark.parametrize("number", SIGNALS)
def test_signal_while_waiting(project: Project, number: signal.Signals) -> None:
    """A signal while `up` waits for a service ends it with 128 + signal; all that was begun is gone by then."""
    project.config(NEVER_READY)
    process = project.start("up", "--format", "json")
    assert eventually(lambda: bool(project.docker("ps", "-q", "--filter", _ours(project))), limit_s=60)
    code, err = _interrupt(process, number, group=number is signal.SIGINT)
    assert code == 128 + number, err
    error = json.loads(err.splitlines()[-1])["error"]
    assert error["code"] == "INTERRUPTED"
    assert error["leftovers"] == []
    assert project.labelled() == []
    project.assert_nothing_left()


def _ours(project: Project) -> str:
    return f"label=dev.envctl.checkout={project.root}"


@pytest.mark.parametrize("group", [True, False])
@pytest.mark.parametrize("noun", ["network", "container"])
def test_signal_while_compose_creates(project: Project, noun: str, *, group: bool) -> None:
    """A signal in the middle of Compose's work rolls back also what the engine was just making."""
    project.config(REDIS)
    process = project.start("up")
    assert eventually(_has(project, noun), limit_s=60, every_s=0.01)
    code, err = _interrupt(process, signal.SIGINT, group=group)
    assert code in (130, 0), err  # 0: it was ready before the signal came
    if code == 0:
        project.run("down", check=True)
    assert project.labelled() == []
    project.assert_nothing_left()


@pytest.mark.parametrize("order", ["GET /images/", "GET /events"])
def test_signal_before_anything_is_created(project: Project, order: str) -> None:
    """A signal before Compose is called leaves neither objects nor rows nor leases."""
    project.config(REDIS)
    with engine_proxy(project) as proxy:
        process = project.start("up", env=proxy.environ)
        assert eventually(_asked(proxy, order), limit_s=60, every_s=0.005)
        code, err = _interrupt(process, signal.SIGTERM, group=False)
        project.environ |= proxy.environ  # an environment belongs to its engine's address
        if code == 0:  # the machine was so busy that it was ready before the signal came
            project.run("down", check=True)
        else:
            assert code == 143, err
        project.assert_nothing_left()


def test_creation_that_the_engine_finishes_late(project: Project) -> None:
    """What the engine makes after its client went away is removed too, with its volume."""
    project.config(REDIS)
    with engine_proxy(project) as proxy:
        project.environ |= proxy.environ
        proxy.break_call("POST /containers/create", "late")
        process = project.start("up")
        assert eventually(lambda: bool(proxy.broken), limit_s=60, every_s=0.005)
        project.traces.notice()  # what has no label is known by its name
        code, err = _interrupt(process, signal.SIGINT, group=True)
        assert code == 130, err
        project.assert_nothing_left()


@pytest.mark.parametrize("seed", range(2))
def test_signal_at_any_moment(project: Project, seed: int) -> None:
    """At whatever moment the signal comes, the exit code is its own or that of success, and nothing is torn apart."""
    project.config(REDIS)
    moments = random.Random(seed)
    for _ in range(3):
        process = project.start("up")
        number = moments.choice(SIGNALS)
        try:
            _, err = process.communicate(timeout=moments.uniform(0.15, 1.5))
        except subprocess.TimeoutExpired:
            project.traces.notice()
            code, err = _interrupt(process, number, group=moments.random() < 0.5)
            if "KeyboardInterrupt" not in err:  # else Python itself was still starting, and nothing had begun
                assert code in (0, 128 + number, -number), err  # the last: before Python could take the signal
                assert "Traceback" not in err
        # A signal after the last word was written down finds the environment whole, and leaves it so.
        if process.returncode == 0 or project.run("status").code == 0:
            project.run("down", check=True)
        project.assert_nothing_left()


@pytest.mark.parametrize("group", [True, False])
def test_signal_while_building(project: Project, *, group: bool) -> None:
    """A signal during a build ends the build too: no process goes on and no image appears afterwards."""
    project.write("box/Dockerfile", DOCKERFILE)
    project.write("box/salt", project.mark)  # so that no other build of this file is in the cache
    project.config(BUILDS_SLOWLY)
    process = project.start("up")
    building = eventually(lambda: process.poll() is not None or _builders(project), limit_s=60)
    assert building is not True, process.communicate()
    code, err = _interrupt(process, signal.SIGTERM, group=group)
    assert code == 143, err
    assert eventually(lambda: not _builders(project), limit_s=10)
    project.assert_nothing_left()


def _builders(project: Project) -> list[int]:
    """Processes that build this project's image."""
    return processes("build", f"{project.root}/box")


def test_second_signal_ends_at_once(project: Project) -> None:
    """A second Ctrl-C ends the roll-back at once and says what is left and how to finish; the next `down` does."""
    project.config(NEVER_READY)
    with engine_proxy(project) as proxy:
        process = project.start("up", env=proxy.environ)
        assert eventually(lambda: bool(project.docker("ps", "-q", "--filter", _ours(project))), limit_s=60)
        proxy.break_call("DELETE /containers", "hang")  # from now on the engine is slow to remove
        process.send_signal(signal.SIGINT)
        assert eventually(lambda: bool(proxy.broken), limit_s=30)
        eventually(lambda: False, limit_s=0.5)  # longer than what counts as the first one's echo
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
        assert process.returncode == 130, err
        assert "envctl down" in err
        assert "shop-main" in err
        project.environ |= proxy.environ
        project.run("down", check=True)
        project.assert_nothing_left()


def test_signal_to_an_environment_that_was_there(project: Project) -> None:
    """A signal while `up` replaces one service of an environment that was there does not remove the others."""
    project.config("services:\n  redis: {}\n")
    project.up()
    before = project.containers()
    project.config(
        'services:\n  redis: {}\n  box: {image: busybox, command: ["sleep", "600"], ports: {main: 8080},'
        " ready: {tcp: main}}\n"
    )
    process = project.start("up")
    assert eventually(lambda: "box" in project.containers(), limit_s=60)
    code, err = _interrupt(process, signal.SIGINT, group=True)
    assert code == 130, err
    assert project.containers()["redis"] == before["redis"]
    project.config(REDIS)
    project.up()
    assert project.containers() == before
    project.run("down", check=True)
    project.assert_nothing_left()


@pytest.mark.parametrize("order", ["DELETE /containers", "DELETE /networks", "DELETE /volumes"])
def test_signal_during_down(project: Project, order: str) -> None:
    """A signal during `down` leaves an environment that the next `down` finishes."""
    project.config(REDIS)
    with engine_proxy(project) as proxy:
        project.environ |= proxy.environ
        project.up()
        process = project.start("down")
        assert eventually(_asked(proxy, order), limit_s=60, every_s=0.005)
        code, err = _interrupt(process, signal.SIGINT, group=True)
        assert code in (0, 130), err
        project.run("down", check=True)
        project.assert_nothing_left()


@pytest.mark.parametrize("command", ["up", "down"])
def test_closed_stdout_stops_nothing(project: Project, command: str) -> None:
    """Nobody reading the output (`envctl up | head -0`) neither fails the command nor leaves its work half done."""
    project.config(REDIS)
    if command == "down":
        project.up()
    process = project.start(command)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    process.stdout = process.stderr = None
    assert process.wait(timeout=90) == 0
    if command == "up":
        assert project.run("status", "--format", "json", check=True).json["state"] == "ready"
        project.run("down", check=True)
    project.assert_nothing_left()


def test_nohup_stays_ignored(project: Project) -> None:
    """Who starts `up` with SIGHUP ignored, as nohup does, keeps it when the terminal closes."""
    project.config(REDIS)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = project.start("up")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert eventually(_has(project, "network"), limit_s=60, every_s=0.02)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    project.run("down", check=True)
    project.assert_nothing_left()
