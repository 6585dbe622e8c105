"""Several envctl at once: on one environment, on many, and against each other."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from harness import Project, eventually

REDIS = "services:\n  redis: {}\n"


def _end_all(processes: Sequence[subprocess.Popen[str]], limit_s: float = 150) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each."""
    ended = []
    for process in processes:
        out, err = process.communicate(timeout=limit_s)
        ended.append((process.returncode, out, err))
    return ended


def _reports(processes: Sequence[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    """What each reports; all must succeed."""
    ended = _end_all(processes)
    assert [code for code, _, _ in ended] == [0] * len(ended), "\n".join(err for _, _, err in ended)
    return [json.loads(out) for _, out, _ in ended]


def _answer(report: dict[str, Any]) -> dict[str, Any]:
    """What must be the same for everybody."""
    services = {
        name: {key: value for key, value in service.items() if key != "ready_ms"}
        for name, service in report["services"].items()
    }
    return {"environment": report["environment"], "services": services, "variables": report["variables"]}


@pytest.mark.parametrize("number", [2, 10])
def test_up_of_the_same_environment_at_once(project: Project, number: int) -> None:
    """Of several `up` of one environment one creates it; all succeed, with the same answer."""
    project.config(REDIS)
    processes = [project.start("up", "--format", "json") for _ in range(number)]
    answers = [_answer(report) for report in _reports(processes)]
    assert all(answer == answers[0] for answer in answers)
    assert sorted(thing.noun for thing in project.labelled()) == ["container", "network", "volume"]
    project.run("down", check=True)
    project.assert_nothing_left()


@pytest.mark.timeout(300)
def test_up_of_different_environments_at_once(project: Project) -> None:
    """Eight `up` of different environments share no port, subnet, container, network, volume or password."""
    project.config(REDIS)
    reports = _reports([project.start("up", "--format", "json", "--name", f"n{n}") for n in range(8)])
    for values in (
        [report["environment"] for report in reports],
        [report["services"]["redis"]["port"] for report in reports],
        [report["services"]["redis"]["password"] for report in reports],
    ):
        assert len(set(values)) == 8, values
    things = project.labelled()
    assert len({(thing.noun, thing.name) for thing in things}) == 24, things
    networks = [thing.id for thing in things if thing.noun == "network"]
    subnets = project.docker("network", "inspect", "--format", "{{range .IPAM.Config}}{{.Subnet}}{{end}}", *networks)
    assert len(set(subnets.split())) == 8
    removed = [project.start("down", "--name", f"n{n}") for n in range(8)]
    assert [code for code, _, _ in _end_all(removed)] == [0] * 8
    project.assert_nothing_left()


@pytest.mark.parametrize("seed", range(2))
def test_up_against_down(project: Project, seed: int) -> None:
    """Whatever the order in which `up` and `down` meet, each succeeds and the end is either all there or all gone."""
    project.config(REDIS)
    moments = random.Random(seed)
    commands = ["up", "down"] * 3
    moments.shuffle(commands)
    processes = []
    for command in commands:
        processes.append(project.start(command, "--format", "json"))
        eventually(lambda: False, limit_s=moments.uniform(0, 0.7))
    ended = _end_all(processes)
    assert [code for code, _, _ in ended] == [0] * 6, "\n".join(err for _, _, err in ended)
    nouns = sorted(thing.noun for thing in project.labelled())
    assert nouns in ([], ["container", "network", "volume"])
    if nouns:
        assert project.run("status", "--format", "json", check=True).json["state"] == "ready"
    else:
        assert project.run("status").code == 66
    project.run("down", check=True)
    project.assert_nothing_left()


def test_down_against_down(project: Project) -> None:
    """Several `down` of one environment all succeed; one removes it, the others find nothing to do."""
    project.config(REDIS)
    project.up()
    removals = _reports([project.start("down", "--format", "json") for _ in range(4)])
    assert len([removal for removal in removals if removal["environment"]]) == 1
    project.assert_nothing_left()


def test_down_all_against_up(make_project: Callable[[], Project]) -> None:
    """`down --all` while an `up` is under way: both succeed, and what is recorded is what is there."""
    project = make_project()
    project.config(REDIS)
    project.up("--name", "other")
    up, down = project.start("up", "--format", "json"), project.start("down", "--all", "--format", "json")
    ended = _end_all([up, down])
    assert [code for code, _, _ in ended] == [0, 0], "\n".join(err for _, _, err in ended)
    listed = project.run("ls", "--format", "json", check=True).json["environments"]
    assert len(listed) == len(project.containers())
    project.run("down", "--all", check=True)
    project.assert_nothing_left()


# -- who holds it --------------------------------------------------------------------------------------------------


def _start_and_stop(project: Project) -> subprocess.Popen[str]:
    """An `up` that holds the lock and is stopped by SIGSTOP."""
    process = project.start("up")
    recorded = "SELECT 1 FROM subnet_leases"  # the last that it writes down, with the lock held, before engine work
    assert eventually(lambda: bool(project.traces.rows(recorded)), limit_s=60, every_s=0.01)
    os.kill(process.pid, signal.SIGSTOP)
    return process


@pytest.mark.provokes("ENVIRONMENT_BUSY")
def test_stopped_holder_is_waited_for_and_not_robbed(project: Project) -> None:
    """Who waits too long for the lock is told who holds it and that it is stopped; the lock is not taken from it."""
    project.config(REDIS)
    holder = _start_and_stop(project)
    try:
        error = project.error("down", "--timeout", "300ms")
        assert (error["code"], error["exit"], error["retryable"]) == ("ENVIRONMENT_BUSY", 75, True)
        assert error["subject"]["pid"] == holder.pid
        assert "stopped" in error["message"]
    finally:
        os.kill(holder.pid, signal.SIGCONT)
    assert _end_all([holder])[0][0] == 0
    assert project.run("status", "--format", "json", check=True).json["state"] == "ready"
    project.run("down", check=True)
    project.assert_nothing_left()


def test_waiter_says_whom_it_waits_for(project: Project) -> None:
    """A second `up` that waits names the first on stderr after 2 s, and then ends well too."""
    project.config(REDIS)
    holder = _start_and_stop(project)
    waiter = project.start("up")
    assert waiter.stderr is not None
    try:
        said = ""
        while str(holder.pid) not in said:  # the test's own time limit ends this
            line = waiter.stderr.readline()
            assert line, said
            said += line
    finally:
        os.kill(holder.pid, signal.SIGCONT)
    assert [code for code, _, _ in _end_all([holder, waiter])] == [0, 0]
    project.run("down", check=True)
    project.assert_nothing_left()


def test_another_environment_is_not_held_up(project: Project) -> None:
    """A process that holds one environment's lock holds up no other environment."""
    project.config(REDIS)
    holder = _start_and_stop(project)
    try:
        assert project.up("--name", "other")["state"] == "ready"
        project.run("down", "--name", "other", check=True)
    finally:
        os.kill(holder.pid, signal.SIGCONT)
    assert _end_all([holder])[0][0] == 0
    project.run("down", check=True)
    project.assert_nothing_left()
