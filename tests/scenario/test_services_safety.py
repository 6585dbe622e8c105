"""What every container of an environment is like, and where its secrets are not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from harness import Project

ALL = """
services:
  postgres: {}
  redis: {}
  websocket: {}
  side: {image: busybox, command: [httpd, -f, -p, "80"], ports: {web: 80}, environment: {CACHE: "{redis.url}"}}
"""


@contextmanager
def every_argument_list() -> Iterator[set[str]]:
    """Collects the argument lists of all processes of the machine, again and again, while the block runs."""
    seen: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    with suppress(OSError):
                        seen.add((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            done.wait(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def _secrets(project: Project) -> set[str]:
    rows = project.traces.rows("SELECT credentials FROM stacks")
    return {secret for (text,) in rows for owned in json.loads(str(text)).values() for secret in owned.values()}


def test_secrets_are_nowhere_to_be_read(project: Project) -> None:
    """No password is in an argument list, in `docker inspect`, in a label, in a file but the registry, or in a log."""
    project.config(ALL.replace(', environment: {CACHE: "{redis.url}"}', ""))
    with every_argument_list() as arguments:
        up = project.run("up", "-v", "--format", "none", check=True)
        verbose = [up, *(project.run(*call, "-v") for call in (("status",), ("logs",), ("ls",)))]
    secrets = _secrets(project)
    assert len(secrets) == 3
    assert all(len(secret) == 32 for secret in secrets)
    handles = [thing.id for thing in project.labelled() if thing.noun == "container"]
    inspected = project.docker("inspect", *handles) + "".join(
        project.docker(thing.noun, "inspect", thing.id) for thing in project.labelled() if thing.noun != "container"
    )
    files = "".join(
        file.read_text(errors="replace")
        for file in project.state.rglob("*")
        if file.is_file() and file.name != "registry.db"
    )
    logs = "".join(project.docker("logs", handle) for handle in handles)
    render = project.run("render", check=True).out
    for secret in secrets:
        assert not [line for line in arguments if secret in line]
        assert secret not in inspected
        assert secret not in files
        assert secret not in logs
        assert secret not in render
        for result in verbose:
            assert secret not in result.err, result.args
    assert len(arguments) > 10
    assert any("compose" in line and "--file" in line for line in arguments), "the sampling saw nothing of the start"


def test_every_container_is_hardened(project: Project) -> None:
    """Each container has limits, an init, no new privileges, bounded logs, our labels and no unnamed volume."""
    project.config(ALL)
    report = project.up()
    registry_id = (project.state / "registry-id").read_text().strip()
    assert set(project.containers()) == {"postgres", "redis", "websocket", "side"}
    for name in project.containers():
        found = project.inspect(name)
        host = found["HostConfig"]
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["Init"] is True, name
        assert host["PidsLimit"] > 0, name
        assert host["Memory"] > 0, name
        assert host["MemorySwap"] == host["Memory"], name
        assert host["Privileged"] is False
        assert host["RestartPolicy"]["Name"] == "no"
        assert {"max-size", "max-file"} <= set(host["LogConfig"]["Config"]), name
        labels = found["Config"]["Labels"]
        assert labels["dev.envctl.registry"] == registry_id
        assert labels["dev.envctl.environment"] == report["environment"]
        assert labels["dev.envctl.checkout"] == str(project.root)
        assert {"dev.envctl.owner", "dev.envctl.created", "dev.envctl.expires"} <= set(labels)
        assert not [mount for mount in found["Mounts"] if mount["Type"] == "bind"], "nothing of the host is mounted"
        volumes = [mount["Name"] for mount in found["Mounts"] if mount["Type"] == "volume"]
        assert all(volume.startswith("envctl-") for volume in volumes), volumes


@pytest.mark.parametrize("service", ["redis", "side"])
def test_ports_are_open_on_loopback_only(project: Project, service: str) -> None:
    """Every published port listens on 127.0.0.1 and on no other address."""
    project.config("services: {redis: {}, side: {image: busybox, command: [httpd, -f, -p, '80'], ports: {web: 80}}}")
    port = project.up()["services"][service]["port"]
    listening = [
        line.split()[1].split(":")[0]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].rsplit(":", 1)[1], 16) == port
    ]
    assert listening == ["0100007F"]


def test_another_password_does_not_log_in(project: Project) -> None:
    """Each service demands its environment's own password."""
    import psycopg
    import redis

    project.config("services: {postgres: {}, redis: {}}")
    variables = project.up()["variables"]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(variables["DATABASE_URL"].replace(variables["PGPASSWORD"], "wrong"), connect_timeout=10)
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis.Redis(port=int(variables["REDIS_PORT"])).ping()
