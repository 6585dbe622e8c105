"""`envctl run` with signals at any moment, in a terminal and without one, and `kill -9` of whatever runs."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress

import process_table
import pytest
from harness import Project, eventually
from held import Held, removal_begins_after_s
from terminal import Terminal

REDIS = "services: {redis: {}}\n"
NEVER_READY = 'services: {redis: {}, box: {process: [sleep, "600"], port: auto}}\n'


def states(project: Project) -> list[object]:
    """The states of the environments."""
    return [state for (state,) in project.traces.rows("SELECT state FROM environments")]


def slow_to_end(project: Project) -> None:
    """Have the environment's removal last until `let_end`."""
    waits = f"trap '' TERM; while [ ! -e {project.folder}/end ]; do sleep 0.05; done"
    project.config(f"services: {{redis: {{}}, slow: {{process: {[*('sh', '-c'), waits]!r}}}}}\n")


def let_end(project: Project) -> None:
    (project.folder / "end").touch()


def watchers(project: Project) -> list[int]:
    """The watchers of the project's sessions."""
    return [pid for pid, process in project.processes().items() if "/watcher/run.py" in process.command]


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and stderr."""
    _, err = process.communicate(timeout=30)
    return process.returncode, err


# -- a signal to envctl alone ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_job_that_is_cancelled(project: Project, number: signal.Signals) -> None:
    """The removal begins within 100 ms, also while the command ignores it, whose exit code is ours.

    Of three times the quickest counts: the machine may be busy with other tests.
    """
    project.config(REDIS)
    took_s: list[float] = []
    while not took_s or (min(took_s) > 0.1 and len(took_s) < 3):
        held = Held(project, first=f"trap '' {number.name.removeprefix('SIG')}", last="exit 3")
        process = project.start("run", "--", *held.words)
        assert held.has_begun
        took_s.append(removal_begins_after_s(project, process, number))
        assert held.lives
        held.release()
        assert ended(process)[0] == 3
        project.assert_nothing_left()
    assert min(took_s) < 0.1


def test_ctrl_c_without_a_terminal(project: Project) -> None:
    """SIGINT is passed on; the services stay until the command has ended, and its exit code is ours."""
    project.config(REDIS)
    held = Held(project, first="trap 'sleep 0.3; exit 7' INT")
    process = project.start("run", "--", *held.words)
    assert held.has_begun
    process.send_signal(signal.SIGINT)
    while held.lives:
        assert states(project) in (["ready"], ["removing"], [])
        assert states(project) == ["ready"] or not held.lives
    assert ended(process)[0] == 7
    project.assert_nothing_left()


def test_a_signal_during_up(project: Project) -> None:
    """What was begun is rolled back; the command does not run."""
    project.config(NEVER_READY)
    process = project.start("run", "--", "true")
    assert eventually(lambda: states(project) == ["creating"], every_s=0.01)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 143
    project.assert_nothing_left()


def test_a_second_signal_during_the_removal(project: Project) -> None:
    """Ends envctl at once; its words name what is left and who does the rest, which comes true."""
    slow_to_end(project)
    process = project.start("run", "--", "true")
    assert eventually(lambda: states(project) == ["removing"], limit_s=20, every_s=0.01)
    process.send_signal(signal.SIGINT)
    eventually(lambda: False, limit_s=0.5)  # longer than what counts as the first one's echo
    process.send_signal(signal.SIGINT)
    code, err = ended(process)
    assert code == 130
    assert states(project) == ["removing"]
    told = err[err.index("interrupted again") :]
    assert "background" in told
    assert "environment shop-main-" in told
    assert "envctl down" not in told
    let_end(project)
    project.assert_nothing_left()


def test_a_second_signal_while_the_command_runs(project: Project) -> None:
    """A command that goes on after the first one is ended by force, and all is removed in the background."""
    project.config(REDIS)
    held = Held(project, first="trap '' INT TERM")
    process = project.start("run", "--", *held.words)
    assert held.has_begun
    process.send_signal(signal.SIGINT)
    eventually(lambda: False, limit_s=0.5)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 143
    assert held.has_ended
    project.assert_nothing_left()


# -- in a terminal ---------------------------------------------------------------------------------------------------


@pytest.fixture
def screen(project: Project) -> Iterator[Terminal]:
    """A terminal with a shell in the project's checkout."""
    made = Terminal(environ={**project.environ, "TERM": "xterm"}, cwd=project.root)
    yield made
    with suppress(OSError):
        made.close()


def run_in(screen: Terminal, project: Project, *words: str) -> None:
    """Type an `envctl run`, and the exit code after it."""
    screen.run([*project.command, "run", "--", *words], after='; echo "code:$?"')


def test_ctrl_c_once(project: Project, screen: Terminal) -> None:
    """The command gets it and ends in its own way, with its services still there; then they go."""
    project.config(REDIS)
    inside = f"{shlex.join(project.command)} status >/dev/null; echo status:$?; exit 9"
    held = Held(project, first=f"trap '{inside}' INT")
    run_in(screen, project, *held.words)
    assert held.has_begun
    screen.type("\x03")
    assert screen.shows("status:0")
    assert screen.shows("code:9")
    project.allow_files("runs/*")
    project.assert_nothing_left_but(screen.process.pid)


def test_ctrl_c_twice(project: Project, screen: Terminal) -> None:
    """While the command runs both are its own; during the removal the second one ends us, and the rest is done."""
    slow_to_end(project)
    held = Held(project, first="trap 'echo once; trap \"exit 8\" INT' INT", last="while :; do sleep 0.05; done")
    run_in(screen, project, *held.words)
    assert held.has_begun
    screen.type("\x03")
    assert screen.shows("once\r")
    assert states(project) == ["ready"]
    screen.type("\x03")
    assert eventually(lambda: states(project) == ["removing"], every_s=0.01)
    screen.type("\x03")
    eventually(lambda: False, limit_s=0.5)
    screen.type("\x03")
    assert screen.shows("interrupted again")
    assert screen.shows("code:130")
    assert states(project) == ["removing"]
    let_end(project)
    project.allow_files("runs/*")
    project.assert_nothing_left_but(screen.process.pid)


def test_a_terminal_that_is_closed(project: Project, screen: Terminal) -> None:
    """Command and environment go with it."""
    project.config(REDIS)
    held = Held(project)
    run_in(screen, project, *held.words)
    assert held.has_begun
    os.close(screen.master)
    assert held.has_ended
    project.allow_files("runs/*")
    project.assert_nothing_left()
    screen.master = os.open(os.devnull, os.O_RDONLY)


# -- kill -9 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["up", "command", "removal"])
def test_kill_of_envctl(project: Project, moment: str) -> None:
    """Killed at any moment, the command ends and all is removed, without any other call of envctl."""
    project.config(NEVER_READY)
    if moment == "removal":
        slow_to_end(project)
    elif moment == "command":
        project.config(REDIS)
    held = Held(project)
    process = project.start("run", "--", *held.words)
    if moment == "up":
        assert eventually(lambda: states(project) == ["creating"] and project.instances(), limit_s=20, every_s=0.01)
    else:
        assert held.has_begun
    if moment == "removal":
        held.release()
        assert eventually(lambda: states(project) == ["removing"], every_s=0.01)
    process.kill()
    let_end(project)
    ended(process)
    assert moment == "up" or held.has_ended
    project.assert_nothing_left()


def test_a_killed_run_ends_its_whole_group(project: Project) -> None:
    """Also what ignores SIGTERM after its leader has ended, or is stopped."""
    project.config(REDIS)
    job = 'sh -c "trap : TERM; kill -STOP \\$\\$; sleep 600; sleep 600" &'
    held = Held(project, first=job)
    process = project.start("run", "--", *held.words)
    assert held.has_begun
    process.kill()
    ended(process)
    assert eventually(lambda: not project.leaks(limit_s=0), limit_s=15)


def test_kill_of_the_watcher_and_of_envctl(project: Project) -> None:
    """The next command, whichever it is, has everything removed in the background, and is not kept waiting."""
    project.config(REDIS)
    held = Held(project)
    process = project.start("run", "--", *held.words)
    assert held.has_begun
    (watcher,) = watchers(project)
    for pid in (watcher, process.pid, held.pid):
        os.kill(pid, signal.SIGKILL)
    ended(process)
    assert states(project) == ["ready"]
    project.run("ls", check=True, cwd=project.folder)
    assert eventually(lambda: not states(project))
    project.assert_nothing_left()


def test_what_a_killed_job_left_is_not_used_again(project: Project) -> None:
    """A runner's next job in the same checkout gets an environment of its own, new and without the old data."""
    project.config(REDIS)
    held = Held(project)
    process = project.start("run", "--", *held.words)
    old = held.environ["REDIS_PASSWORD"]
    before = project.instances()
    (watcher,) = watchers(project)
    for pid in (watcher, process.pid, held.pid):
        os.kill(pid, signal.SIGKILL)
    ended(process)
    other = project.up()
    assert other["variables"]["REDIS_PASSWORD"] != old
    assert project.instances()["redis"] != before["redis"]
    assert project.traces.rows("SELECT ephemeral FROM environments") == [(0,)]
    assert process_table.look_at(int(before["redis"].split()[0])) is None
