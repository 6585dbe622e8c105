"""A job that runs in a container of the engine, whose socket it was given: 127.0.0.1 is not the services' there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from harness import Project
from job_container import JobContainer
from redis import Redis

pytestmark = pytest.mark.skipif(
    not Path("/var/run/docker.sock").exists(), reason="the engine's socket is not at /var/run/docker.sock"
)

_PING = "import sys, redis; print(redis.Redis.from_url(sys.argv[1]).ping())"


@pytest.fixture
def network(project: Project) -> str:
    """A network as a CI system makes one for each of its jobs."""
    name = f"job-{project.mark}"
    project.docker("network", "create", "--label", project.own_label, name)
    return name


def test_addresses_answer_inside_the_jobs_container(project: Project, network: str) -> None:
    """Ports are published on the gateway of the job's network: reached from the job and its host, and from no LAN.

    The next job, in the same place and with a registry of its own, gets services of its own.
    """
    own = f"{sys.executable} -m http.server --bind 127.0.0.1 $PORT"
    project.config(f"services: {{redis: {{}}, own: {{process: '{own}', port: auto}}}}")
    template = "{{(index .IPAM.Config 0).Gateway}}"
    gateway = project.docker("network", "inspect", network, "--format", template)
    with JobContainer(project, network=network, socket="/run/engine/docker.sock") as job:
        assert project.run("up", "--format", "none", check=True).err.count(gateway) == 1, "where we stand is told"
        before = project.instances()
        again = project.run("up", "--format", "json", check=True)
        assert project.instances() == before
        assert gateway not in again.err, "and once is enough"
        own, reached = again.json["services"]["own"], again.json["services"]["redis"]
        assert (own["host"], reached["host"]) == ("127.0.0.1", gateway)
        published = project.inspect("redis")["NetworkSettings"]["Ports"]["6379/tcp"]
        assert published == [{"HostIp": gateway, "HostPort": str(reached["port"])}]
        assert job.python(_PING, reached["url"]) == "True\n"
        with Redis.from_url(reached["url"]) as from_the_host:
            assert from_the_host.ping()
        findings = project.run("doctor", "--format", "json").json["findings"]
        (told,) = [finding["value"] for finding in findings if finding["name"] == "ports"]
        assert gateway in told
        first = dict(project.environ)
        project.environ["ENVCTL_STATE_DIR"] = str(project.folder / "next-job")
        next_job = project.up()  # its checkout has the same path, as in CI, and it knows nothing of the first
        assert next_job["services"]["redis"]["port"] != reached["port"]
        assert job.python(_PING, reached["url"]) == "True\n"
        project.run("down", check=True)
        project.environ.update(first)
        project.run("down", check=True)


@pytest.mark.provokes("ADDRESS_UNREACHABLE")
def test_a_jobs_container_without_a_way_to_the_engine(project: Project) -> None:
    """Where nothing that is published could be reached it is told before anything is created, unless the user knows."""
    project.config("services: {redis: {}}")
    with JobContainer(project, network="none"):
        error = project.error("up", "--engine", "compose")
        assert (error["code"], error["exit"], error["state"]) == ("ADDRESS_UNREACHABLE", 82, "nothing was created")
        assert any("publish_address" in line for line in error["fix"])
        assert project.containers() == {}
        project.config("publish_address: 127.0.0.2\nready_timeout: 2s\nservices: {redis: {}}")
        error = project.error("up")
        assert error["code"] == "SERVICE_NOT_READY"
        assert "may not be reachable from here" in error["cause"]
        assert any("publish_address" in line for line in error["fix"])
    project.assert_nothing_left()
