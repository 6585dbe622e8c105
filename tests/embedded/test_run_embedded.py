"""`envctl run`: the command's variables, its exit code, and what becomes of the environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from harness import Project, Result, eventually
from held import Held

REDIS = "services: {redis: {}}\n"
TWO = "services: {redis: {}, other: {kind: redis}}\n"
BROKEN = 'services: {redis: {}, box: {process: [sh, -c, "echo has no luck; exit 3"], port: auto}}\n'


def shell(project: Project, text: str, *options: str, **how: object) -> Result:
    """`envctl run` of a shell command, with `python -m envctl` as $envctl."""
    project.environ["envctl"] = " ".join(project.command)
    return project.run("run", *options, "--", "sh", "-c", text, **how)  # type: ignore[arg-type]  # a test gives what it likes


def environments(project: Project) -> list[tuple[object, ...]]:
    """Label, state, and whether it goes with its last session."""
    return project.traces.rows("SELECT label, state, ephemeral FROM environments ORDER BY label")


def finished(process: subprocess.Popen[str]) -> int:
    """Its exit code, when it has ended."""
    process.communicate(timeout=30)
    return process.returncode


@pytest.fixture
def shop(project: Project) -> Project:
    """A project with one service."""
    project.config(REDIS)
    return project


def test_the_command_runs_in_an_environment_that_is_gone_afterwards(shop: Project) -> None:
    """It has the variables of `envctl env` and the caller's, from a subfolder too, and writes to stdout undisturbed."""
    shop.write("sub/folder/file", "")
    script = "import json, os; print(json.dumps(dict(os.environ)))"
    call = ("run", "--", sys.executable, "-c", script)
    done = shop.run(*call, check=True, cwd=shop.root / "sub" / "folder", env={"MINE": "1"})
    seen = json.loads(done.out)
    assert seen["ENVCTL_ENV"].startswith("shop-main-")
    assert seen["REDIS_URL"].startswith("redis://")
    assert seen["MINE"] == "1"
    assert seen["ENVCTL_SESSION"]
    shop.assert_nothing_left()


def test_exit_codes_are_the_commands(shop: Project) -> None:
    """0 to 255 pass, 128 + N for a death by signal N; what cannot be run is 126, what is not there 127."""
    shop.allow_files("runs/*")
    shop.up()
    before = shop.instances()
    for code in (0, 1, 2, 75, 125, 200, 255):
        assert shell(shop, f"exit {code}").code == code
    for number in (9, 15):
        assert shell(shop, f"kill -{number} $$").code == 128 + number
    folder = shop.error("run", "--", "./sub")
    assert (folder["code"], folder["exit"]) == ("COMMAND_NOT_FOUND", 127)
    shop.write("sub/file", "")
    folder = shop.error("run", "--", "./sub")
    assert (folder["code"], folder["exit"]) == ("COMMAND_NOT_EXECUTABLE", 126)
    assert shop.instances() == before, "an environment that was up is used and stays"
    assert environments(shop) == [("", "ready", 0)]


def test_what_fails_in_envctl_is_125(shop: Project) -> None:
    """Usage, configuration and `up` alike; the code tells which it was, and nothing is left."""
    shop.config("services: {redis: {imag: x}}")
    wrong = (((), "USAGE"), (("--fersh", "true"), "USAGE"), (("--name", "a b", "--", "true"), "USAGE"))
    for arguments, code in (*wrong, (("--", "true"), "CONFIG_INVALID")):
        error = shop.error("run", *arguments)
        assert (error["code"], error["exit"]) == (code, 125)
    shop.config(BROKEN)
    error = shop.error("run", "--", "true")
    assert (error["code"], error["exit"]) == ("SERVICE_EXITED", 125)
    shop.assert_nothing_left()


def test_nobody_reads_its_output(shop: Project) -> None:
    """`envctl run -- … | head -1`: the command ends as it would without us, and all is removed."""
    shop.allow_files("runs/*")
    process = shop.start("run", "--", "yes")
    assert process.stdout is not None
    assert process.stdout.readline() == "y\n"
    process.stdout.close()
    process.stdout = None
    assert finished(process) == 141
    shop.assert_nothing_left()


def test_logs_of_a_failed_run_are_kept_without_passwords(shop: Project) -> None:
    """In a folder of their own each, or where `--artifacts` says; of a run that succeeds nothing is kept."""
    shop.allow_files("runs/*", "kept/*")
    shop.up()
    text = "$envctl redis-cli NO_SUCH_COMMAND; exit 3"
    assert shell(shop, text).code == shell(shop, text).code == 3
    folders = sorted((shop.state / "runs").iterdir())
    assert len(folders) == 2
    assert {file.name for file in folders[0].iterdir()} == {"redis.log", "environment.json"}
    known = json.loads((folders[0] / "environment.json").read_text())
    assert known["state"] == "ready"
    assert shop.run("env", "--format", "json").json["REDIS_PASSWORD"] not in json.dumps(known)
    assert shell(shop, "exit 3", "--artifacts", "kept").code == 3
    assert (shop.root / "kept" / "redis.log").exists()
    assert len(list((shop.state / "runs").iterdir())) == 2
    shell(shop, "exit 0", check=True)
    assert len(list((shop.state / "runs").iterdir())) == 2


# -- what is left running --------------------------------------------------------------------------------------------


def test_a_daemon_is_left_alone_and_a_job_is_ended(shop: Project) -> None:
    """What has left its process group is its own master; what is left in it is ended and named. None is waited for."""
    shop.allow_files("runs/*")
    done = shell(shop, "setsid sleep 301 >/dev/null 2>&1 & sleep 302 >/dev/null 2>&1 & echo $!; exit 5")
    assert done.code == 5
    assert done.seconds < 10
    (daemon,) = shop.processes().values()
    assert daemon.command == "sleep 301"
    assert f"sleep (pid {done.out.strip()})" in done.err
    os.kill(daemon.pid, signal.SIGKILL)
    shop.assert_nothing_left()


# -- within each other -----------------------------------------------------------------------------------------------


def test_envctl_inside_a_run_means_its_environment(shop: Project) -> None:
    """A run in a run uses the outer one's, also with `--name` and `-f`, and leaves it; `up` in it does not keep it."""
    shop.write("ci/two.yaml", TWO)
    inner = "test $($envctl url other) = $OTHER_URL && $envctl run -- sh -c 'echo $OTHER_URL' && $envctl up >&2 &&"
    done = shell(shop, f"{inner} $envctl status --format json", "--name", "e2e", "-f", "ci/two.yaml", check=True)
    url, _, status = done.out.partition("\n")
    told = json.loads(status)
    assert told["environment"].startswith("shop-main-e2e-")
    assert (told["state"], told["services"]["other"]["url"]) == ("ready", url)
    shop.assert_nothing_left()


def test_down_inside_a_run(shop: Project) -> None:
    """A command may remove the environment it runs in; the run ends with its exit code all the same."""
    assert shell(shop, "$envctl down && exit 0").code == 0
    shop.assert_nothing_left()


def test_a_stale_session_means_nothing(shop: Project) -> None:
    """A shell that still has the variable of a run that is over means the checkout's own environment."""
    report = shop.up(env={"ENVCTL_SESSION": "0123456789ab"})
    assert report["environment"].startswith("shop-main-")
    assert environments(shop) == [("", "ready", 0)]


# -- keeping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text", "stays"),
    [
        (("--keep",), "exit 0", True),
        (("--keep-failed",), "exit 4", True),
        (("--keep-failed",), "exit 0", False),
        ((), "exit 4", False),
    ],
)
def test_what_stays(shop: Project, options: tuple[str, ...], text: str, stays: bool) -> None:
    """`--keep` always, `--keep-failed` where the command failed; it is as one that `envctl up` made."""
    shop.allow_files("runs/*")
    shell(shop, text, *options)
    assert environments(shop) == ([("", "ready", 0)] if stays else [])
    assert bool(shop.instances()) is stays


def test_keep_failed_where_up_fails(shop: Project) -> None:
    """What was begun stays, to look at it: logs too."""
    shop.config(BROKEN)
    assert shop.error("run", "--keep-failed", "--", "true")["exit"] == 125
    assert environments(shop) == [("", "degraded", 0)]
    assert "has no luck" in shop.run("logs", "box", check=True).out


def test_fresh(shop: Project) -> None:
    """Data goes first; whoever had it up has it up afterwards. Refused where somebody uses it, whoever asks."""
    before = shop.up()
    held = Held(shop)
    run = shop.start("run", "--fresh", "--", *held.words)
    assert held.environ["REDIS_PASSWORD"] != before["variables"]["REDIS_PASSWORD"]
    for command in (("up", "--fresh"), ("run", "--fresh", "--", "true")):
        refused = shop.error(*command)
        assert refused["code"] == "ENVIRONMENT_IN_USE"
        assert refused["exit"] == (75 if command[0] == "up" else 125)
        assert refused["subject"]["pids"] == [run.pid]
    inside = shop.run("up", "--fresh", env={"ENVCTL_SESSION": held.environ["ENVCTL_SESSION"]})
    assert inside.code == 75, "it would take passwords and data from the command it is called by"
    held.release()
    assert finished(run) == 0
    assert environments(shop) == [("", "ready", 0)]


# -- several ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 1])
def test_two_runs_at_once_share_it(shop: Project, first: int) -> None:
    """Begun at the same moment they use one environment, which goes with the last one, whichever that is."""
    commands = [Held(shop), Held(shop)]
    runs = [shop.start("run", "--", *held.words) for held in commands]
    assert commands[0].environ["REDIS_URL"] == commands[1].environ["REDIS_URL"]
    before = shop.instances()
    for number in (first, 1 - first):
        assert shop.instances() == before
        commands[number].release()
        assert finished(runs[number]) == 0
    shop.assert_nothing_left()


def test_up_beside_a_run_adopts_its_environment(shop: Project) -> None:
    """Who wants it up has it up, after the run too."""
    held = Held(shop)
    run = shop.start("run", "--", *held.words)
    assert held.has_begun
    before = shop.instances()
    shop.up()
    held.release()
    assert finished(run) == 0
    assert environments(shop) == [("", "ready", 0)]
    assert shop.instances() == before


def test_an_end_waits_for_nobody_while_others_use_it(shop: Project) -> None:
    """A run that is not the last one ends although another command works on the environment."""
    commands = [Held(shop), Held(shop)]
    runs = [shop.start("run", "--", *held.words) for held in commands]
    assert all(held.has_begun for held in commands)
    shop.config('services: {redis: {}, box: {process: [sleep, "600"], port: auto}}')
    up = shop.start("up")  # never ready
    assert eventually(lambda: any(process.command == "sleep 600" for process in shop.processes().values()))
    commands[0].release()
    assert finished(runs[0]) == 0
    up.kill()
    up.communicate()
    commands[1].release()
    assert finished(runs[1]) == 0
