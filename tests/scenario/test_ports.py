"""Ports: leased ones are had in spite of squatters, fixed ones are had or refused with the holder's name."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from harness import Project
from redis import Redis

# Takes the port of the Compose file just before the first `compose up`, as a server that sets SO_REUSEADDR can in
# spite of envctl's guard, and keeps it.
_SQUATTER = """#!{python}
import os, re, socket, subprocess, sys
flag = {flag!r}
if "compose" in sys.argv and "up" in sys.argv and not os.path.exists(flag):
    document = open(sys.argv[sys.argv.index("--file") + 1]).read()
    port = int(re.search(r"127\\.0\\.0\\.1:(\\d+):6379", document)[1])
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        keeper = subprocess.Popen(
            ["sleep", "100"], pass_fds=[squatter.fileno()], start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
    open(flag, "w").write(f"{{port}} {{keeper.pid}}")
os.execv({docker!r}, [{docker!r}, *sys.argv[1:]])
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _fixed(port: int) -> str:
    return f'services:\n  redis: {{port: "{port}:6379"}}\n'


def test_a_squatter_between_reservation_and_start(project: Project) -> None:
    """A leased port that is taken at the last moment is silently replaced by another."""
    programs, flag = project.folder / "bin", project.folder / "squatted"
    programs.mkdir()
    wrapper = programs / "docker"
    docker = str(shutil.which("docker"))
    wrapper.write_text(_SQUATTER.format(python=sys.executable, flag=str(flag), docker=docker))
    wrapper.chmod(0o755)
    project.config("services: {redis: {}}")
    try:
        result = project.run(
            "up", "--format", "json", env={"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}, check=True
        )
        squatted = int(flag.read_text().split()[0])
        port = result.json["services"]["redis"]["port"]
        assert port != squatted
        with Redis.from_url(result.json["variables"]["REDIS_URL"]) as redis:
            assert redis.ping()
        leases = dict(project.traces.rows("SELECT port, state FROM port_leases"))
        assert leases == {squatted: "quarantined", port: "held"}
        assert len(project.containers()) == 1
    finally:
        with suppress(OSError, ProcessLookupError):
            os.kill(int(flag.read_text().split()[1]), signal.SIGKILL)


def test_a_fixed_port_is_given(project: Project) -> None:
    """A port the user fixed is the one that is published, also at once after a `down`."""
    port = _free_port()
    project.config(_fixed(port))
    for _ in range(2):
        report = project.up()
        assert report["services"]["redis"]["port"] == port
        with Redis.from_url(report["variables"]["REDIS_URL"]) as redis:
            assert redis.ping()
        project.run("down", check=True)


@pytest.mark.provokes("PORT_IN_USE")
def test_a_fixed_port_a_process_has(project: Project) -> None:
    """A fixed port that a process has is refused with that process's name, before anything is created."""
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        project.config(_fixed(port))
        error = project.error("up")
    assert (error["code"], error["exit"]) == ("PORT_IN_USE", 81)
    assert error["subject"]["port"] == port
    assert str(os.getpid()) in error["message"]
    assert project.traces.mounted() == set(), "no container was started"
    project.assert_nothing_left()


def test_a_fixed_port_another_environment_has(project: Project) -> None:
    """A fixed port of another environment is refused with that environment's name; the other stays as it is."""
    port = _free_port()
    project.config(_fixed(port))
    first = project.up()
    before = project.containers()
    error = project.error("up", "--name", "second")
    assert (error["code"], error["exit"]) == ("PORT_IN_USE", 81)
    assert first["environment"] in error["message"]
    assert project.containers() == before
    assert len(project.traces.rows("SELECT name FROM environments")) == 1


def test_a_fixed_port_a_container_has(project: Project) -> None:
    """A fixed port that somebody's container publishes is refused with the container's name."""
    name = f"squatter-{project.mark[:8]}"
    publish = ("--publish", f"127.0.0.1:{_free_port()}:80")
    project.docker("run", "--detach", "--name", name, "--label", project.own_label, *publish, "busybox", "sleep", "99")
    port = int(publish[1].split(":")[1])
    project.config(_fixed(port))
    error = project.error("up")
    assert (error["code"], error["exit"]) == ("PORT_IN_USE", 81)
    assert name in error["message"]
    assert project.labelled() == []


def test_two_services_never_share_a_port(project: Project) -> None:
    """The same fixed port for two services is a mistake of the file, told before anything is created."""
    port = _free_port()
    project.config(_fixed(port) + f'  other: {{kind: redis, port: "{port}:6379"}}\n')
    assert project.error("up")["code"] == "CONFIG_INVALID"
    project.assert_nothing_left()


def test_the_guard_ends_with_the_start(project: Project) -> None:
    """After `up` no process of envctl holds the port; only the engine's own proxy listens."""
    project.config("services: {redis: {}}")
    port = project.up()["services"]["redis"]["port"]
    bound = [
        line.split()[3]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if int(line.split()[1].rsplit(":", 1)[1], 16) == port and line.split()[3] in {"0A", "07"}
    ]
    assert bound == ["0A"]
