"""What an engine tells of containers, networks and volumes, as Docker Engine 26.1 does, and what is read from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from envctl.engines.docker import listing, objects
from envctl.model import Observed, ServiceState, Stack

REGISTRY = "c" * 32
STACK = Stack(id="0123456789ab", project="envctl-shop-main-1", engine="compose", endpoint="unix:///x")


def _container(name: str = "envctl-shop-main-1-redis-1", **changed: str) -> Mapping[str, Any]:
    labels = {
        "registry": REGISTRY,
        "stack": STACK.id,
        "service": "redis",
        "digest": "d1",
        "aspects": '{"image":"i1"}',
        "data": "a1",
    }
    told = {"State": "running", "Status": "Up 3 seconds (healthy)", "Image": "redis:8"}
    return {
        "Id": "416e9f6b",
        "Names": [f"/{name}"],
        "Ports": [
            {"IP": "127.0.0.1", "PrivatePort": 6379, "PublicPort": 20431, "Type": "tcp"},
            {"PrivatePort": 6380, "Type": "tcp"},
            {"IP": "127.0.0.1", "PrivatePort": 53, "PublicPort": 20432, "Type": "udp"},
        ],
        "Labels": {f"dev.envctl.{label}": changed.get(label, text) for label, text in labels.items()},
        **{word: changed.get(word.lower(), text) for word, text in told.items()},
    }


def _other(name: str, registry: str = REGISTRY, stack: str = STACK.id) -> Mapping[str, Any]:
    return {"Name": name, "Labels": {"dev.envctl.registry": registry, "dev.envctl.stack": stack} if registry else None}


def _read(**there: Mapping[str, Any]) -> Observed:
    """What is read of an engine that has these things, each known by its noun."""
    return objects.read(STACK, REGISTRY, {noun: [thing] for noun, thing in there.items()})


def test_our_container_is_a_service() -> None:
    """A container with our labels is the service they name, with its digest and its published ports."""
    seen = _read(container=_container())
    found = seen.services["redis"]
    assert (found.handle, found.state, found.digest, found.data_digest) == (
        "416e9f6b",
        ServiceState.RUNNING,
        "d1",
        "a1",
    )
    assert found.aspects == {"image": "i1"}
    assert found.host_ports == {6379: 20431}
    assert found.exit_code is None
    assert seen.foreign == ()


@pytest.mark.parametrize(
    ("state", "status", "expected", "code"),
    [
        ("created", "Created", ServiceState.CREATED, None),
        ("exited", "Exited (137) 2 minutes ago", ServiceState.EXITED, 137),
        ("exited", "Exited (0) About a minute ago", ServiceState.EXITED, 0),
        ("dead", "Dead", ServiceState.EXITED, None),
        ("paused", "Up 5 minutes (Paused)", ServiceState.PAUSED, None),
        ("restarting", "Restarting (1) 4 seconds ago", ServiceState.STARTING, None),
    ],
)
def test_states(state: str, status: str, expected: ServiceState, code: int | None) -> None:
    """Each state of a container is one of ours; a state nobody knows is no running service."""
    found = _read(container=_container(state=state, status=status)).services["redis"]
    assert (found.state, found.exit_code) == (expected, code)


def test_moved_image_is_noticed() -> None:
    """A container whose tag now names another image shows an image id in place of the reference."""
    for image, moved in (("sha256:" + "0" * 64, True), ("0123456789ab", True), ("registry:5000/deadbeef:1", False)):
        assert _read(container=_container(image=image)).services["redis"].image_moved is moved


@pytest.mark.parametrize("changed", [{"registry": ""}, {"registry": "d" * 32}, {"stack": "another"}, {"stack": ""}])
def test_labels_not_names_make_it_ours(changed: dict[str, str]) -> None:
    """A container of our name without our registry's and stack's labels is foreign, and no service."""
    seen = _read(container=_container(**changed))
    assert seen.services == {}
    assert seen.foreign == ("container envctl-shop-main-1-redis-1",)


@pytest.mark.parametrize(
    ("noun", "name", "foreign"),
    [
        ("network", "envctl-shop-main-1", True),
        ("network", "envctl-shop-main-1_default", True),
        ("network", "envctl-shop-main-12", False),
        ("network", "my-envctl-shop-main-1", False),
        ("volume", "envctl-shop-main-1_redis-data", True),
        ("volume", "envctl-shop-main-1", False),
        ("volume", "envctl-shop-main-1x_redis-data", False),
    ],
)
def test_foreign_names(noun: str, name: str, *, foreign: bool) -> None:
    """Only names that Compose would give to this very stack are in the way."""
    seen = _read(**{noun: _other(name, registry="")})
    assert seen.foreign == ((f"{noun} {name}",) if foreign else ())


def test_every_host_port_is_known() -> None:
    """One port of a container may be published on several of the host; each of them is taken."""
    ports = [{"PrivatePort": 80, "PublicPort": outer, "Type": "tcp"} for outer in (8080, 8081)]
    assert listing.published({**_container(), "Ports": ports}) == [(80, 8080), (80, 8081)]


def test_our_networks_and_volumes() -> None:
    """What carries our labels is ours, whatever its name."""
    seen = _read(network=_other("n"), volume=_other("v"))
    assert (seen.networks, seen.volumes, seen.foreign) == (("n",), ("v",), ())
