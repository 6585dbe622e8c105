"""Engines reached in other ways than by the default socket: DOCKER_HOST, contexts, an address that is not loopback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_presence import docker
from engine_proxy import EngineProxy
from harness import Project
from redis import Redis

_SOCKET = Path("/var/run/docker.sock")
pytestmark = pytest.mark.skipif(not _SOCKET.exists(), reason="the engine's socket is not at /var/run/docker.sock")


@pytest.fixture
def loopback_engine() -> Iterator[EngineProxy]:
    """The engine at a TCP port of 127.0.0.1."""
    with EngineProxy("127.0.0.1") as proxy:
        yield proxy


@pytest.fixture
def remote_engine() -> Iterator[EngineProxy]:
    """The engine at an address that is not loopback: that of Docker's own bridge, which every engine has."""
    template = "{{(index .IPAM.Config 0).Gateway}}"
    gateway = docker("network", "inspect", "bridge", "--format", template).strip()
    with EngineProxy(gateway) as proxy:
        yield proxy


def _use(project: Project, report: dict[str, object]) -> None:
    variables = report["variables"]
    assert isinstance(variables, dict)
    with Redis.from_url(variables["REDIS_URL"]) as redis:
        assert redis.ping()


def test_docker_host(loopback_engine: EngineProxy, project: Project) -> None:
    """With DOCKER_HOST the whole way works, and `down` finds the same engine without it."""
    project.config("services: {redis: {}}")
    report = project.up(env={"DOCKER_HOST": loopback_engine.address})
    assert report["services"]["redis"]["host"] == "127.0.0.1"
    _use(project, report)
    assert project.run("exec", "redis", "--", "echo", "inside", check=True).out == "inside\n"
    endpoints = project.traces.rows("SELECT endpoint FROM stacks")
    assert endpoints == [(loopback_engine.address,)]
    project.run("down", check=True)
    project.assert_nothing_left()


def test_an_engine_elsewhere(remote_engine: EngineProxy, project: Project) -> None:
    """For a remote engine the address is the engine's, and ports are published there and nowhere else."""
    project.environ["DOCKER_HOST"] = remote_engine.address
    host = remote_engine.address.removeprefix("tcp://").rsplit(":", 1)[0]
    project.write("motd", "hello\n")
    project.config("""
services:
  redis: {}
  side: {image: busybox, command: [httpd, -f, -p, "80", -h, /w], ports: {web: 80}, ready: {http: /motd},
         volumes: ["./motd:/w/motd"]}
""")
    report = project.up()
    for service in report["services"].values():
        assert service["host"] == host
    published = project.inspect("redis")["NetworkSettings"]["Ports"]["6379/tcp"]
    assert published == [{"HostIp": host, "HostPort": str(report["services"]["redis"]["port"])}]
    _use(project, report)
    assert project.up()["variables"] == report["variables"]
    project.run("down", check=True)
    project.assert_nothing_left()


def test_a_context(loopback_engine: EngineProxy, project: Project) -> None:
    """The engine of a Docker context is used, chosen by DOCKER_CONTEXT or as the current one."""
    folder = project.folder / "docker"
    folder.mkdir()
    plugins = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "cli-plugins"
    if plugins.exists():
        (folder / "cli-plugins").symlink_to(plugins)
    project.environ["DOCKER_CONFIG"] = str(folder)
    project.environ.pop("DOCKER_HOST", None)
    os_environ = f"host={loopback_engine.address}"
    project.docker("--config", str(folder), "context", "create", "elsewhere", "--docker", os_environ)
    project.config("services: {redis: {}}")
    report = project.up(env={"DOCKER_CONTEXT": "elsewhere"})
    _use(project, report)
    assert project.traces.rows("SELECT endpoint FROM stacks") == [(f"{loopback_engine.address} elsewhere",)]
    project.docker("--config", str(folder), "context", "use", "elsewhere")
    assert project.up()["variables"] == report["variables"]
    project.run("down", check=True)
    project.assert_nothing_left()


def test_a_build_on_another_engine(loopback_engine: EngineProxy, project: Project) -> None:
    """A build happens on the engine that was chosen."""
    project.environ["DOCKER_HOST"] = loopback_engine.address
    project.write("server/Dockerfile", 'FROM busybox\nCMD ["sleep", "600"]\n')
    project.config("services: {server: {build: ./server}}")
    project.up()
    assert set(project.containers()) == {"server"}
