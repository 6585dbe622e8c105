"""Which Docker engine is chosen: as the `docker` program chooses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from envctl.engines.docker.endpoint import DEFAULT_ADDRESS, Endpoint, parse, resolve


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory with a docker context "far", which is not the current one."""
    name = hashlib.sha256(b"far").hexdigest()
    meta = tmp_path / ".docker" / "contexts" / "meta" / name / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Name": "far", "Endpoints": {"docker": {"Host": "ssh://me@far.example"}}}))
    return tmp_path


def test_default_is_the_systems_socket(tmp_path: Path) -> None:
    """Without any setting it is the platform's socket, on this machine, whose ports are on the loopback address."""
    found = resolve({"HOME": str(tmp_path)})
    assert found == Endpoint(DEFAULT_ADDRESS)
    assert found.is_local
    assert found.host == "127.0.0.1"
    assert found.arguments == ["--host", DEFAULT_ADDRESS]


def test_docker_host_wins(home: Path) -> None:
    """DOCKER_HOST counts more than any context."""
    found = resolve({"HOME": str(home), "DOCKER_HOST": "tcp://10.1.2.3:2375", "DOCKER_CONTEXT": "far"})
    assert found.address == "tcp://10.1.2.3:2375"
    assert found.source == "DOCKER_HOST"
    assert not found.is_local
    assert found.host == "10.1.2.3"


def test_context_of_the_variable(home: Path) -> None:
    """DOCKER_CONTEXT names a context; its address is known, and calls name the context, which may hold keys."""
    found = resolve({"HOME": str(home), "DOCKER_CONTEXT": "far"})
    assert found.address == "ssh://me@far.example"
    assert found.arguments == ["--context", "far"]
    assert "DOCKER_CONTEXT" in found.source


def test_current_context(home: Path) -> None:
    """Without variables the context chosen with `docker context use` counts."""
    (home / ".docker" / "config.json").write_text('{"currentContext": "far"}')
    assert resolve({"HOME": str(home)}).address == "ssh://me@far.example"
    assert resolve({"HOME": str(home), "DOCKER_CONTEXT": "default"}) == Endpoint(DEFAULT_ADDRESS)


def test_docker_config_moves_the_folder(home: Path, tmp_path: Path) -> None:
    """DOCKER_CONFIG says where contexts are."""
    found = resolve({"HOME": "/nowhere", "DOCKER_CONFIG": str(home / ".docker"), "DOCKER_CONTEXT": "far"})
    assert found.address == "ssh://me@far.example"


@pytest.mark.parametrize("content", ["", "{", "[]", '"text"', "\0", '{"currentContext": 7}'])
def test_broken_configuration_raises_nothing(home: Path, content: str) -> None:
    """What is broken shows when the engine is called, with Docker's own words."""
    (home / ".docker" / "config.json").write_text(content)
    assert resolve({"HOME": str(home)}).address == DEFAULT_ADDRESS


@pytest.mark.parametrize(
    "endpoint",
    [
        Endpoint("unix:///var/run/docker.sock"),
        Endpoint("ssh://me@far.example", "far"),
        Endpoint("tcp://10.1.2.3:2376", "name with spaces"),
    ],
)
def test_recorded_endpoint_is_read_back(endpoint: Endpoint) -> None:
    """What the registry keeps leads to the same engine later."""
    again = parse(str(endpoint))
    assert (again.address, again.context) == (endpoint.address, endpoint.context)
    assert again.arguments == endpoint.arguments


@pytest.mark.parametrize(
    ("address", "local", "host"),
    [
        ("unix:///run/user/1000/docker.sock", True, "127.0.0.1"),
        ("npipe:////./pipe/docker_engine", True, "127.0.0.1"),
        ("tcp://127.0.0.1:2375", True, "127.0.0.1"),
        ("tcp://192.0.2.7:2376", False, "192.0.2.7"),
        ("ssh://me@192.0.2.8:22", False, "192.0.2.8"),
    ],
)
def test_where_clients_reach_ports(address: str, *, local: bool, host: str) -> None:
    """Ports of an engine elsewhere are reached at its own address, not at ours."""
    assert Endpoint(address).is_local is local
    assert Endpoint(address).host == host
