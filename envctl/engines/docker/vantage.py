"""Where clients here find the ports an engine publishes, when we ourselves run in one of its containers.

A job that is given the engine's socket is a neighbour of the services, not their host: the host's 127.0.0.1 is another
one than its own. What both share is the gateway of a bridge network the job is attached to: an address of the host that
its containers reach, and machines beside it do not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from envctl.engines.docker.direct import Question
from envctl.engines.docker.endpoint import Endpoint
from envctl.host import clock, container, knock
from envctl.host.port_range import PORT_RANGE
from envctl.model import LOOPBACK, Capabilities

_LIMIT_S = 5.0
_MOST_HOPS = 3
_UNLIKELY_PORT = PORT_RANGE[-1]  # of those services get, so that a firewall says what it would say of theirs


class _Way(NamedTuple):
    """An address clients here may use, the one ports are then published on, and both in words."""

    host: str
    publish_address: str
    words: str


def seen_from_here(where: Endpoint, capabilities: Capabilities) -> Capabilities:
    """The same, with the address clients here are to use. Asks the engine only from inside a container.

    Args:
        where: The engine.
        capabilities: What is known without asking.

    Raises:
        EnvctlError: The engine does not answer.
    """
    if not capabilities.local or (us := _ourselves(where)) is None:
        return capabilities
    place = f"envctl runs in container {str(us.get('Id'))[:12]} of the engine"
    us = _owner_of_network(where, us)
    if _mode(us) == "host":
        return capabilities
    info = _ask(where, "/info") or {}
    if "name=rootless" in (info.get("SecurityOptions") or ()):
        return capabilities  # its networks are in a namespace of their own, where it publishes nothing
    ways = list(_ways(where, us, info))
    refusals = []
    for way in ways:
        if not (refusal := knock.is_there(way.host, _UNLIKELY_PORT)):
            told = f"{place}: {way.words}"
            return replace(capabilities, local=False, host=way.host, publish_address=way.publish_address, vantage=told)
        refusals.append(f"{way.host}: {refusal}")
    networks = ", ".join(_networks(us)) or "none"
    obstacle = f"none of its networks leads to the engine's machine ({networks})"
    if refusals:
        obstacle = f"the engine's machine does not answer at {', '.join(refusals)}"
    return replace(capabilities, local=False, vantage=place, obstacle=obstacle)


def _ourselves(where: Endpoint) -> Mapping[str, Any] | None:
    """The container we run in, as the engine tells it; None where we run in none of its containers."""
    for candidate in container.ids():
        found = _container(where, candidate)
        if found and str(found.get("Id", "")).startswith(candidate):  # and not one that is only called so
            return found
    return None


def _owner_of_network(where: Endpoint, us: Mapping[str, Any]) -> Mapping[str, Any]:
    """The container whose network we use: another one's, where ours was started with `--network container:…`."""
    for _ in range(_MOST_HOPS):
        kind, _, other = _mode(us).partition(":")
        if kind != "container" or not (found := _container(where, other)):
            break
        us = found
    return us


def _ways(where: Endpoint, us: Mapping[str, Any], info: Mapping[str, Any]) -> Iterator[_Way]:
    """Docker Desktop publishes on another machine than its containers run on, and has a name for it there."""
    if info.get("OperatingSystem") == "Docker Desktop":
        import socket

        try:
            desktop = socket.gethostbyname("host.docker.internal")
        except OSError:
            return
        yield _Way(desktop, LOOPBACK, f"ports of Docker Desktop's machine are at {desktop}")
        return
    for name, network in _networks(us).items():
        gateway = str(network.get("Gateway") or "")
        if gateway and _is_bridge(where, str(network.get("NetworkID") or name)):
            yield _Way(gateway, gateway, f"ports are published on {gateway}, the gateway of its network {name}")


def _is_bridge(where: Endpoint, network: str) -> bool:
    """Whether the gateway is an address of the host; that of a macvlan network, say, is the router's."""
    return (_ask(where, f"/networks/{network}") or {}).get("Driver") == "bridge"


def _container(where: Endpoint, handle: str) -> Mapping[str, Any] | None:
    return _ask(where, f"/containers/{handle}/json")


def _networks(us: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return (us.get("NetworkSettings") or {}).get("Networks") or {}


def _mode(us: Mapping[str, Any]) -> str:
    return str((us.get("HostConfig") or {}).get("NetworkMode") or "")


def _ask(where: Endpoint, path: str) -> dict[str, Any] | None:
    """What the engine says, None where it has no such thing."""
    there, text = Question(where, path).answer(clock.monotonic_s() + _LIMIT_S)
    try:
        value = json.loads(text) if there else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
