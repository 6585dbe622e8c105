"""Services that do not come up: the reason is told at once, and nothing stays."""

from __future__ import annotations

import json
import os
import signal
import unicodedata
from datetime import datetime

import pytest
from harness import Project

from envctl.engines.docker import deaths
from envctl.engines.docker.endpoint import DEFAULT_ADDRESS, Endpoint

_FIELDS = {
    *("code", "exit", "message", "cause", "evidence", "fix", "subject", "retryable", "state", "leftovers"),
}


def service(script: str, more: str = "") -> str:
    """A configuration with one service `bad` that runs a shell script."""
    return f"ready_timeout: 60s\nservices:\n  bad: {{image: busybox, command: [sh, -c, {json.dumps(script)}]{more}}}\n"


NEVER = ", ready: {log: 'this is never said'}"


@pytest.mark.provokes("SERVICE_EXITED")
@pytest.mark.parametrize(
    ("script", "more", "code"),
    [
        ("echo I am done; exit 0", "", 0),
        ("echo I am done; exit 1", "", 1),
        ("echo I am done; exit 0", NEVER, 0),
        ("echo I am done; sleep 3; exit 3", NEVER, 3),
        ("echo I am done; sleep 1; kill -9 $$", NEVER, 137),
        ("echo I am done; exec /no/such/program", "", 127),
        ("echo I am done; exit 1", ", ports: {web: 80}", 1),
    ],
    ids=["0 at once", "1 at once", "0 while waited for", "after 3 s", "killed", "127", "with a port"],
)
def test_a_service_that_exits(project: Project, script: str, more: str, code: int) -> None:
    """A service that ends fails `up` long before the deadline, with its exit code and last line, and nothing stays."""
    project.config(service(script, more))
    result = project.run("up", "--format", "json")
    assert result.code == 80, result
    error = result.error
    assert (error["code"], error["subject"]["service"]) == ("SERVICE_EXITED", "bad")
    if code != 137:  # the program in front of it tells its own end differently
        assert error["subject"]["exit_code"] == code
    assert "I am done" in "\n".join(error["evidence"])
    assert result.seconds < 30
    project.assert_nothing_left()


def test_what_an_error_tells(project: Project) -> None:
    """The JSON of an error has every field, and the others' containers are rolled back with the one that failed."""
    project.config(service("echo why it failed; exit 1") + "  redis: {}\n")
    error = project.error("up")
    assert set(error) == _FIELDS
    assert error["fix"]
    assert error["retryable"] is False
    assert error["leftovers"] == []
    assert "rolled back" in error["state"]
    assert "why it failed" in error["cause"]
    project.assert_nothing_left()


def test_the_log_of_what_failed_is_kept(project: Project) -> None:
    """After the roll-back `envctl logs SERVICE` still shows what it said; the next `up` that works forgets it."""
    project.config(service("echo line one; echo line two >&2; exit 1"))
    project.error("up")
    project.assert_nothing_left()
    lines = project.run("logs", "bad", check=True).out
    assert "line one" in lines
    assert "line two" in lines
    assert [file.name for file in project.state.glob("environments/*/failed/*")] == ["bad.log"]
    project.config(service("sleep 600"))
    project.up()
    assert list(project.state.glob("environments/*/failed")) == []


@pytest.mark.provokes("SERVICE_NOT_READY")
@pytest.mark.parametrize(
    ("script", "more"),
    [
        ("echo the server says this; sleep 600", ", ready: {exec: 'false'}"),
        (
            "echo the server says this; nc -ll -p 80 -e sleep 600",
            ", ports: {web: 80}, ready: {tcp: {send: PING, expect: PONG}}",
        ),
        ("echo the server says this; sleep 600", ", ports: {web: 80}"),
    ],
    ids=["exec fails", "silent for tcp", "no listener"],
)
def test_a_service_that_never_becomes_ready(project: Project, script: str, more: str) -> None:
    """At the deadline `up` tells which service, the last answers and the last log lines; nothing stays."""
    project.config(service(script, more).replace("60s", "5s"))
    result = project.run("up", "--format", "json")
    assert result.code == 80, result
    error = result.error
    assert error["code"] == "SERVICE_NOT_READY"
    assert error["subject"]["services"] == ["bad"]
    evidence = "\n".join(error["evidence"])
    assert "last answers" in evidence
    assert "the server says this" in evidence
    assert 4 <= error["subject"]["waited_s"] < 8
    project.assert_nothing_left()


def test_the_deadline_can_be_given(project: Project) -> None:
    """`--timeout` stands over the file's `ready_timeout`."""
    project.config(service("sleep 600", NEVER))
    assert project.error("up", "--timeout", "1s")["subject"]["waited_s"] < 4


@pytest.mark.provokes("OUT_OF_MEMORY")
def test_out_of_memory(project: Project) -> None:
    """A service killed at its memory limit is told as that, not as a mere exit."""
    project.config(service("tail /dev/zero", ", memory: 12m" + NEVER))
    error = project.error("up")
    assert (error["code"], error["exit"], error["subject"]["service"]) == ("OUT_OF_MEMORY", 84, "bad")
    assert any("memory" in fix for fix in error["fix"])
    project.assert_nothing_left()


def test_out_of_memory_that_the_engine_missed(project: Project) -> None:
    """A container with a memory limit that ended by SIGKILL, and not by the engine's hand, ran out of memory.

    The notice cannot be made to get lost; a SIGKILL from beside the engine leaves the same traces.
    """
    endpoint = Endpoint(DEFAULT_ADDRESS)
    for by_engine in (True, False):
        words = ("--detach", "--label", project.own_label, "--memory", "12m", "busybox", "sleep", "600")
        handle = project.docker("run", *words)
        if by_engine:
            project.docker("kill", handle)
        else:
            os.kill(int(project.docker("inspect", "--format", "{{.State.Pid}}", handle)), signal.SIGKILL)
        project.docker("wait", handle)
        death = deaths.autopsy(endpoint, "bad", handle)
        assert (death.exit_code, death.out_of_memory) == (137, not by_engine)


def _is_clean(text: str) -> bool:
    """Whether it holds no control character (C0, C1) and nothing that changes the direction of writing."""
    return not any(unicodedata.category(c) == "Cc" and c not in "\n\t" for c in text) and not set(text) & _DIRECTIONS


_DIRECTIONS = set("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@pytest.mark.parametrize(
    "script",
    [
        r"printf '\033[2J\033]0;owned\007\033]52;c;aGk=\007\r\302\233 5n\376 end\n'; exit 1",
        "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo end; exit 1",
        "head -c 300000 /dev/urandom; echo; echo end; exit 1",
    ],
    ids=["control sequences", "a megabyte in one line", "noise"],
)
def test_what_a_service_prints_reaches_nobody_raw(project: Project, script: str) -> None:
    """No control character of a service reaches the terminal, in an error or by `logs`, and no endless line."""
    project.config(service(script))
    told = project.run("up")
    assert told.code == 80, told
    as_json = project.run("up", "--format", "json")
    assert as_json.code == 80
    assert as_json.error["code"] == "SERVICE_EXITED"
    logs = project.run("logs", "bad", check=True)
    for text in (told.out, told.err, as_json.out, as_json.err, logs.out, logs.err):
        assert _is_clean(text), ascii(text[:500])
    assert len(told.err) < 20_000
    assert "end" in logs.out


def test_a_command_the_image_lacks(project: Project) -> None:
    """A command that is not in the image is told with the name of the service and of the program, and nothing stays."""
    project.config("services: {bad: {image: busybox, command: [nosuchprogram]}, redis: {}}")
    error = project.error("up")
    assert (error["code"], error["exit"]) == ("SERVICE_EXITED", 80)
    assert error["subject"]["exit_code"] == 127
    assert error["subject"]["service"] == "bad"
    assert "nosuchprogram" in json.dumps(error)
    project.assert_nothing_left()


@pytest.mark.parametrize(
    ("script", "ready"),
    [
        ("mkdir /w; echo ok > /w/up; sleep 1; exec httpd -f -p 80 -h /w", "http: /up"),
        ("mkdir /w; echo ok > /w/up; exec httpd -f -p 80 -h /w", "http: {path: /nosuch, port: web, status: 404}"),
        ("sleep 1; exec nc -ll -p 80 -e echo PONG", "tcp: {send: PING, expect: PONG}"),
        ("exec nc -ll -p 80 -e sleep 600", "tcp: web"),
        ("sleep 1; echo 'ready: port 80'; sleep 600", "log: '^ready: port \\d+$'"),
        ("sleep 1; touch /tmp/done; sleep 600", "exec: [test, -f, /tmp/done]"),
    ],
    ids=["http", "http with a status", "tcp conversation", "tcp", "log", "exec"],
)
def test_ready_by(project: Project, script: str, ready: str) -> None:
    """Each of the checks a user can give waits until the service passes it."""
    project.config(service(script, f", ports: {{web: 80}}, ready: {{{ready}}}"))
    report = project.up()
    assert report["services"]["bad"]["state"] == "ready"
    if "sleep 1;" in script:
        assert report["services"]["bad"]["ready_ms"] >= 900


def test_depends_on(project: Project) -> None:
    """A service starts only when what it depends on has passed its check."""
    project.config("""
services:
  first: {image: busybox, command: [sh, -c, "sleep 2; touch /tmp/go; sleep 600"], ready: {exec: [test, -f, /tmp/go]}}
  second: {image: busybox, command: [sleep, "600"], depends_on: [first]}
""")
    project.up()
    first, second = (datetime.fromisoformat(project.inspect(n)["State"]["StartedAt"][:19]) for n in ("first", "second"))
    assert (second - first).total_seconds() >= 1


def test_keep_failed(project: Project) -> None:
    """`--keep-failed` keeps everything to look into with `logs`, `exec` and `status`; `down` removes it."""
    project.config(service("echo it went wrong; exit 1") + "  redis: {}\n")
    error = project.error("up", "--keep-failed")
    assert "kept" in error["state"]
    assert {"redis", "bad"} == set(project.containers())
    assert "it went wrong" in project.run("logs", "bad", check=True).out
    assert project.run("exec", "redis", "--", "true").code == 0
    status = project.run("status", "--format", "json").json
    assert status["services"]["bad"]["state"] == "exited"
    project.run("down", check=True)
    project.assert_nothing_left()


def test_a_failed_change_keeps_the_environment(project: Project) -> None:
    """An `up` that fails on an environment that was there keeps it, data of the unchanged services included."""
    project.config("services: {redis: {}, side: {image: busybox, command: [sleep, '600']}}")
    project.up()
    before = project.containers()["redis"]
    project.config("services: {redis: {}, side: {image: busybox, command: ['false']}}")
    assert project.error("up")["code"] == "SERVICE_EXITED"
    assert project.containers()["redis"] == before
    project.config("services: {redis: {}, side: {image: busybox, command: [sleep, '600']}}")
    project.up()
    assert project.containers()["redis"] == before
