"""Processes of the repository and all that they start: found, ended, and nobody else's touched."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess

import pytest
from harness import Project, eventually
from repository_server import QUICK, ask, configure, pids, script, server

# What each leaves behind: a child, one in a session of its own, and one whose parents are gone (a "daemon").
FAMILY = """
import os, runpy, signal, subprocess, sys
{before}
sleep = ["sleep", "600"]
subprocess.Popen(sleep)
subprocess.Popen(sleep, start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvpe("sleep", sleep, {environment})
    os._exit(0)
os.wait()
runpy.run_path("server.py")
"""
_PLAIN, _STUBBORN = "", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"  # which children inherit
_SAME, _EMPTY = "os.environ", "{}"


def family(before: str = _PLAIN, environment: str = _SAME) -> dict[str, object]:
    """A service that listens and has three more processes."""
    code = FAMILY.format(before=before, environment=environment)
    return server() | {"process": [*QUICK, "-c", code]}


def test_down_ends_the_whole_tree(project: Project) -> None:
    """`down` ends children, those in sessions of their own, and those whose parents are gone."""
    configure(project, {"api": family()})
    project.up()
    assert eventually(lambda: len(pids(project, "sleep 600")) == 3)
    down = project.run("down", check=True)
    assert project.processes() == {}
    assert down.seconds < 5
    project.assert_nothing_left()


def test_down_ends_what_ignores_it(project: Project) -> None:
    """What ignores SIGTERM, children and all, is killed when the grace is over."""
    configure(project, {"api": family(_STUBBORN)})
    project.up()
    assert eventually(lambda: len(pids(project, "sleep 600")) == 3)
    project.run("down", check=True, timeout_s=30)
    project.assert_nothing_left()


def test_down_ends_a_daemon_without_its_variables(project: Project) -> None:
    """A descendant that left its session, its parents and its variables behind is ended, too."""
    configure(project, {"api": family(environment=_EMPTY), "other": server()})
    project.up()
    assert eventually(lambda: len(pids(project, "sleep 600")) == 3)
    project.run("down", check=True)
    project.assert_nothing_left()


def test_down_ends_a_daemon_of_the_first_moment(project: Project) -> None:
    """The same where it is all that the service does at first, so that the parents are gone within a millisecond."""
    at_once = "(setsid env -i sleep 600 &); exec " + shlex.join(map(str, server()["process"]))
    configure(project, {"api": server() | {"process": ["sh", "-c", at_once]}})
    project.up()
    assert eventually(lambda: len(pids(project, "sleep 600")) == 1)
    project.run("down", check=True)
    project.assert_nothing_left()


@pytest.mark.parametrize("service", ["api", "keeper"])
def test_down_after_a_kill(project: Project, service: str) -> None:
    """After `kill -9` of the server or of its keeper `down` still finds and ends all that is left."""
    configure(project, {"api": family(), "other": server()})
    report = project.up()
    assert eventually(lambda: len(pids(project, "sleep 600")) == 3)
    victims = [ask(report)["pid"]] if service == "api" else pids(project, "keeper")
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not project.processes().keys() & set(victims))
    project.run("down", check=True)
    project.assert_nothing_left()


def test_a_killed_keeper_is_told_and_healed(project: Project) -> None:
    """A process whose keeper was killed still answers, but is told as unhealthy, and `up` starts it again."""
    configure(project, {"api": server()})
    pid = ask(project.up())["pid"]
    (keeper,) = pids(project, "keeper")
    os.kill(keeper, signal.SIGKILL)
    assert eventually(lambda: not pids(project, "keeper"))
    status = project.run("status", "--format", "json")
    assert (status.code, status.json["services"]["api"]["state"]) == (80, "unhealthy")
    report = project.up()
    assert ask(report)["pid"] != pid
    assert project.run("logs", "api", check=True).out.count("listening on") >= 1
    assert project.run("status").code == 0


def test_a_restart_ends_the_old_tree(project: Project) -> None:
    """When changed inputs start a service again, nothing of its former tree is left."""
    configure(project, {"api": family() | {"inputs": ["src"]}, "other": server()})
    project.write("src/file", "1\n")
    project.up()
    assert eventually(lambda: len(pids(project, "sleep 600")) == 3)
    before, other = set(pids(project, "sleep 600")), project.instances()["other"]
    project.write("src/file", "22\n")
    project.up()
    assert eventually(lambda: len(pids(project, "sleep 600")) == 3)
    assert not before & set(pids(project, "sleep 600"))
    assert project.instances()["other"] == other


def test_a_crash_is_healed_without_the_rest_of_the_tree(project: Project) -> None:
    """Where the server crashed and its children live on, `up` ends them before it starts the server again."""
    configure(project, {"api": family()})
    project.up()
    assert eventually(lambda: len(pids(project, "sleep 600")) == 3)
    before = set(pids(project, "sleep 600"))
    project.kill("api")
    assert project.run("status").code == 80
    project.up()
    assert eventually(lambda: len(pids(project, "sleep 600")) == 3)
    assert not before & set(pids(project, "sleep 600"))


def test_a_process_of_that_id_that_is_not_ours(project: Project) -> None:
    """A process that has the id of one of ours, but was started at another time, is neither believed in nor ended."""
    configure(project, {"api": server()})
    project.up()
    record = project.service_folders()["api"] / "process.json"
    project.kill("api")
    with subprocess.Popen(["sleep", "600"], env={}, cwd="/") as stranger:
        try:
            known = json.loads(record.read_text())
            known["process"]["pid"] = stranger.pid
            record.write_text(json.dumps(known))
            assert project.run("status").code == 80
            project.run("down", check=True)
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_exec_ends_with_the_environment(project: Project) -> None:
    """What was started by `envctl exec` and is still there is ended by `down`."""
    configure(project, {"api": server()})
    project.up()
    project.run("exec", "api", "--", "sh", "-c", "sleep 600 >/dev/null 2>&1 &", check=True)
    assert pids(project, "sleep 600")
    project.run("down", check=True)
    project.assert_nothing_left()


def test_two_environments_side_by_side(project: Project) -> None:
    """`down` of one environment ends nothing of another one of the same checkout."""
    configure(project, {"api": family()})
    first, second = project.up(), project.up("--name", "second")
    assert ask(first)["pid"] != ask(second)["pid"]
    project.run("down", "--name", "second", check=True)
    assert ask(first)["environment"]["PORT"] == first["variables"]["API_PORT"]
    assert len(pids(project, "sleep 600")) == 3


def test_a_worker_that_ends_later(project: Project) -> None:
    """A process that ended by itself after `up` is told by `status` with its exit code."""
    code = "import time; print('ready', flush=True); time.sleep(1); raise SystemExit(5)"
    configure(project, {"worker": script(code, ready={"log": "ready"})})
    project.up()
    assert eventually(lambda: not project.first_processes())
    status = project.run("status", "--format", "json")
    assert status.code == 80
    assert status.json["services"]["worker"]["state"] == "exited"
