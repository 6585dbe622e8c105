"""Where published ports are found from inside a container of the engine. The engine is a stand-in that tells of us.

The real thing is in tests/scenario/test_job_container.py; here are the networks that no test machine has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from fake_docker import FakeDocker

from envctl.engines.choosing import choose
from envctl.engines.docker import cli, endpoint, vantage
from envctl.host import container
from envctl.host.config import default_spec
from envctl.model import Capabilities

ID = "c211e19efda3" + "0" * 52
HERE = "127.0.0.9"  # refuses, as a machine does that is there
NOWHERE = "224.0.0.1"  # of a group of machines: nobody accepts connections there
PLAIN = Capabilities("compose")


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDocker]:
    """An engine, for a process in a container of some engine."""
    monkeypatch.setattr(container, "ids", lambda: (ID, ID[:12]))
    with FakeDocker() as fake:
        monkeypatch.setenv("PATH", fake.environ["PATH"])
        for cached in (cli.program, cli.environment):
            cached.cache_clear()
        yield fake
    for cached in (cli.program, cli.environment):
        cached.cache_clear()


@pytest.fixture
def seen(docker: FakeDocker) -> Callable[[], Capabilities]:
    """What the engine's addresses are from here."""
    return lambda: vantage.seen_from_here(endpoint.resolve(docker.environ), PLAIN)


def _run_in(docker: FakeDocker, mode: str, handle: str = ID, **gateways: str) -> None:
    """Have the engine know a container with these networks; a name's beginning is its driver."""
    networks = {name: {"Gateway": gateway, "NetworkID": name} for name, gateway in gateways.items()}
    docker.others[f"/containers/{handle}/json"] = {
        "Id": handle,
        "HostConfig": {"NetworkMode": mode},
        "NetworkSettings": {"Networks": networks},
    }
    docker.others |= {f"/networks/{name}": {"Driver": name.rstrip("0123456789")} for name in networks}
    docker.others.setdefault("/info", {"OperatingSystem": "Debian", "SecurityOptions": ["name=seccomp"]})


def test_another_engines_container_is_at_loopback(docker: FakeDocker, seen: Callable[[], Capabilities]) -> None:
    """An engine in our own container, for one; one that is merely called as our id begins is not us."""
    assert seen() == PLAIN
    docker.others[f"/containers/{ID[:12]}/json"] = {"Id": "f" * 64, "HostConfig": {"NetworkMode": "bridge"}}
    assert seen() == PLAIN
    assert "/info" not in docker.asked


@pytest.mark.parametrize("mode", ["host", "rootless"])
def test_where_loopback_stays(docker: FakeDocker, seen: Callable[[], Capabilities], mode: str) -> None:
    """In the host's own network it is the host's; a rootless engine publishes nothing on its gateways."""
    _run_in(docker, mode, bridge=HERE)
    docker.others["/info"] = {"SecurityOptions": ["name=seccomp", "name=rootless"]}
    assert seen() == PLAIN


def test_the_first_gateway_that_answers(docker: FakeDocker, seen: Callable[[], Capabilities]) -> None:
    """Proven by a connection; the gateway of a network that is not a bridge is a router, and not the host."""
    _run_in(docker, "job", macvlan=HERE, overlay=HERE, bridge1=NOWHERE, bridge2="", bridge3=HERE)
    found = seen()
    assert (found.host, found.publish_address, found.local) == (HERE, HERE, False)
    assert "bridge3" in found.vantage
    assert found.obstacle == ""


def test_the_network_of_another_container(docker: FakeDocker, seen: Callable[[], Capabilities]) -> None:
    """It counts as ours; and where that one uses the host's, so do we."""
    _run_in(docker, "container:" + "d" * 64)
    _run_in(docker, "bridge", "d" * 64, bridge=HERE)
    assert seen().host == HERE
    _run_in(docker, "host", "d" * 64)
    assert seen() == PLAIN


def test_docker_desktop(docker: FakeDocker, seen: Callable[[], Capabilities], monkeypatch: pytest.MonkeyPatch) -> None:
    """It publishes on the desktop itself, which its containers know by a name."""
    monkeypatch.setattr("socket.gethostbyname", {"host.docker.internal": HERE}.__getitem__)
    _run_in(docker, "bridge", bridge=NOWHERE)
    docker.others["/info"] = {"OperatingSystem": "Docker Desktop"}
    found = seen()
    assert (found.host, found.publish_address, found.local) == (HERE, "127.0.0.1", False)


@pytest.mark.parametrize("gateways", [{}, {"macvlan": HERE}, {"bridge": NOWHERE}])
def test_no_way(docker: FakeDocker, seen: Callable[[], Capabilities], gateways: dict[str, str]) -> None:
    """Where no address of the engine's machine is reached, that is known before anything is published."""
    _run_in(docker, "job", **gateways)
    found = seen()
    assert not found.local
    assert found.obstacle


def test_auto_does_without_an_engine_whose_ports_it_cannot_reach(docker: FakeDocker) -> None:
    """The embedded engine runs where we are."""
    _run_in(docker, "none")
    choice = choose(docker.environ, default_spec())
    assert choice.reason == "embedded: no port that the Docker engine publishes can be reached from here"


def test_an_ordinary_machine_is_not_asked(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of containers the engine hears no question more."""
    monkeypatch.setattr(container, "ids", tuple)
    assert vantage.seen_from_here(endpoint.resolve(docker.environ), PLAIN) == PLAIN
    assert docker.asked == []
