"""The repository's own server as a process beside containers."""

from __future__ import annotations

import os
import signal
import socket
import sys

import psycopg
import pytest
from harness import Project, eventually
from redis import Redis
from repository_server import QUICK, ask, configure, pids, script, server

BOX = {"image": "busybox", "command": ["sleep", "600"]}
WEB = {"image": "busybox", "command": ["sh", "-c", "exec httpd -f -p 8080"], "port": 8080}


def test_a_process_uses_the_containers(project: Project) -> None:
    """It gets the variables that tests get, addresses of this machine, and its first connections succeed."""
    code = (
        "import os, psycopg, redis, runpy\n"
        "with psycopg.connect(os.environ['DATABASE_URL']) as database:\n"
        "    database.execute('CREATE TABLE started ()')\n"
        "redis.Redis.from_url(os.environ['REDIS_URL']).set('started', 1)\n"
        "runpy.run_path('server.py')\n"
    )
    service = server(environment={"OWN": "{redis.url}"}) | {"process": [sys.executable, "-c", code]}
    configure(project, {"postgres": {}, "redis": {}, "api": service})
    report = project.up()
    known, environment = report["variables"], ask(report)["environment"]
    assert {name: environment.get(name) for name in known} == known
    assert environment["OWN"] == known["REDIS_URL"]
    assert environment["PORT"] == known["API_PORT"]
    assert project.containers().keys() == {"postgres", "redis"}
    with psycopg.connect(known["DATABASE_URL"]) as database, Redis.from_url(known["REDIS_URL"]) as redis:
        assert database.execute("SELECT count(*) FROM started").fetchone() == (0,)
        assert redis.get("started") == b"1"


def test_changed_inputs_leave_the_containers(project: Project) -> None:
    """A changed input starts the process again and leaves the containers; without a change nothing is started."""
    configure(project, {"redis": {}, "api": server(inputs=["src"])})
    project.write("src/file", "1\n")
    report = project.up()
    containers, processes = project.instances(), project.first_processes()
    project.up()
    assert (project.instances(), project.first_processes()) == (containers, processes)
    project.write("src/file", "22\n")
    assert "changed: inputs" in project.run("up", "--dry-run", check=True).out
    again = project.up()
    assert again["variables"] == report["variables"]
    assert project.instances() == containers
    assert project.first_processes()["api"] != processes["api"]


def test_a_changed_container_leaves_the_process(project: Project) -> None:
    """A changed container is replaced, and the process that runs beside it is left alone."""
    configure(project, {"box": BOX, "api": server()})
    project.up()
    containers, processes = project.instances(), project.first_processes()
    configure(project, {"box": BOX | {"command": ["sleep", "601"]}, "api": server()})
    project.up()
    assert project.instances() != containers
    assert project.first_processes() == processes


def test_commands_reach_both(project: Project) -> None:
    """`logs`, `exec`, `status` and `down` serve containers and processes alike."""
    talking = {"image": "busybox", "command": ["sh", "-c", "echo from the box; exec sleep 600"]}
    configure(project, {"box": talking, "api": server()})
    report = project.up()
    logs = project.run("logs", check=True).out
    assert "from the box" in logs
    assert f"listening on {report['variables']['API_PORT']}" in logs
    assert project.run("exec", "box", "--", "ls", "/bin/httpd", check=True).out.strip() == "/bin/httpd"
    where = project.run("exec", "api", "--", "sh", "-c", "pwd; echo $PORT", check=True).out.splitlines()
    assert where == [str(project.root), report["variables"]["API_PORT"]]
    status = project.run("status", "--format", "json", check=True).json["services"]
    assert {name: service["state"] for name, service in status.items()} == {"box": "ready", "api": "ready"}
    project.run("down", check=True)
    project.assert_nothing_left()


def test_only_processes(project: Project) -> None:
    """An environment without any container makes no container and no network."""
    configure(project, {"api": server()})
    ask(project.up())
    assert [thing for thing in project.labelled() if thing.noun != "network"] == []
    project.run("down", check=True)
    project.assert_nothing_left()


@pytest.mark.provokes("SERVICE_EXITED")
def test_a_process_that_exits_takes_the_containers_along(project: Project) -> None:
    """Where the process of a new environment ends at once, the containers are rolled back with it."""
    configure(project, {"redis": {}, "bad": script("print('I am done'); raise SystemExit(3)", port="auto")})
    error = project.error("up")
    assert (error["exit"], error["code"]) == (80, "SERVICE_EXITED")
    assert (error["subject"]["service"], error["subject"]["exit_code"]) == ("bad", 3)
    assert "I am done" in "\n".join(error["evidence"])
    assert project.labelled() == []
    project.assert_nothing_left()


@pytest.mark.provokes("SERVICE_EXITED")
def test_a_container_that_exits_takes_the_process_along(project: Project) -> None:
    """Where a container of a new environment ends at once, the process is ended with it."""
    bad = {"image": "busybox", "command": ["sh", "-c", "sleep 1; exit 4"], "ready": {"log": "never said"}}
    configure(project, {"bad": bad, "api": server(depends_on=[])})
    error = project.error("up")
    assert (error["code"], error["subject"]["service"]) == ("SERVICE_EXITED", "bad")
    assert project.processes() == {}
    project.assert_nothing_left()


@pytest.mark.provokes("UNSUPPORTED")
@pytest.mark.parametrize(
    "more", [{"depends_on": ["api"]}, {"environment": {"API": "{api.url}"}}], ids=["depends on", "refers to"]
)
def test_a_container_cannot_reach_a_process(project: Project, more: dict[str, object]) -> None:
    """A container that needs a process is refused before anything is made, with the service's name and ways out."""
    configure(project, {"api": server(), "box": BOX | more})
    error = project.error("up")
    assert (error["exit"], error["code"]) == (78, "UNSUPPORTED")
    text = "\n".join([error["message"], str(error["cause"]), *error["fix"]])
    assert "box" in text
    assert "api" in text
    assert error["fix"]
    project.assert_nothing_left()


def test_a_container_becomes_a_process_and_back(project: Project) -> None:
    """A service that changes from an image to a process, or back, is replaced; of the former nothing is left."""
    report = None
    for services in ({"api": WEB}, {"api": server()}, {"api": WEB}):
        configure(project, services)
        report = project.up()
        is_process = "process" in services["api"]
        assert (project.containers().keys() == {"api"}, "api" in project.first_processes()) == (
            not is_process,
            is_process,
        )
        with socket.create_connection(("127.0.0.1", int(report["variables"]["API_PORT"])), timeout=5):
            pass
    assert pids(project, "server.py") == []
    project.run("down", check=True)
    project.assert_nothing_left()


def test_an_interrupted_up_leaves_nothing(project: Project) -> None:
    """Ctrl-C while `up` waits for the process removes the containers, and ends the process with all it started."""
    code = "import subprocess, time\nsubprocess.Popen(['sleep', '600'], start_new_session=True)\ntime.sleep(600)"
    configure(project, {"redis": {}, "bad": script(code, port="auto")})
    up = project.start("up")
    assert eventually(lambda: pids(project, "sleep 600"), limit_s=30, every_s=0.02)
    up.send_signal(signal.SIGINT)
    _, err = up.communicate(timeout=30)
    assert up.returncode == 130, err
    assert project.labelled() == []
    project.assert_nothing_left()


def test_a_crash_is_told_and_healed(project: Project) -> None:
    """After a crash `status` says which one is gone, and `up` starts it alone again: the containers are left."""
    configure(project, {"redis": {}, "api": server()})
    pid = ask(project.up())["pid"]
    containers = project.instances()
    (first,) = pids(project, "server.py")
    assert first == pid
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not project.first_processes())
    status = project.run("status", "--format", "json")
    assert status.code == 80
    states = {name: service["state"] for name, service in status.json["services"].items()}
    assert states == {"redis": "ready", "api": "exited"}
    assert ask(project.up())["pid"] != pid
    assert project.instances() == containers


def test_no_secret_is_seen(project: Project) -> None:
    """No password stands in an argument list, in the definition of a process, or in `docker inspect`."""
    configure(project, {"redis": {}, "api": server(environment={"OWN": "{redis.url}"})})
    report = project.up()
    secret = report["variables"]["REDIS_PASSWORD"]
    assert secret in ask(report)["environment"]["OWN"]
    commands = [process.command for process in project.processes().values()]
    definitions = [file.read_text() for file in project.state.rglob("definition.json")]
    assert commands
    assert definitions
    assert [text for text in (*commands, *definitions, str(project.inspect("redis"))) if secret in text] == []


def test_a_branch_of_its_own(project: Project) -> None:
    """Another branch has a process of its own on a port of its own, and `down` ends only that."""
    configure(project, {"api": server()})
    first, second = project.up(), project.up("--branch", "other")
    assert ask(first)["pid"] != ask(second)["pid"]
    project.run("down", "--branch", "other", check=True)
    assert ask(first)["environment"]["ENVCTL_BRANCH"] == "main"


def test_the_other_engine_is_refused(project: Project) -> None:
    """An environment that runs on Compose is not mixed with the embedded engine; after `down` it may be."""
    configure(project, {"redis": {}, "api": server() | {"process": [*QUICK, "server.py"]}})
    project.up()
    before = project.first_processes()
    error = project.error("up", "--engine", "embedded")
    assert (error["exit"], error["code"]) == (78, "OTHER_ENGINE")
    assert project.first_processes() == before
    project.run("down", check=True)
    ask(project.up("--engine", "embedded"))
