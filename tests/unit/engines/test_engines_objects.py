"""What `docker ps`, `network ls` and `volume ls` print, and what is read from it. Rows as docker 28.2.2 prints them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

import pytest

from envctl.engines.docker import cli, objects
from envctl.errors import EngineFailed, EngineTimeout
from envctl.model import ServiceState, Stack

REGISTRY = "c" * 32
STACK = Stack(id="0123456789ab", project="envctl-shop-main-1", engine="compose", endpoint="unix:///x")


def _container(name: str = "envctl-shop-main-1-redis-1", **changed: str) -> str:
    row = {
        "id": "416e9f6b",
        "name": name,
        "state": "running",
        "status": "Up 3 seconds (healthy)",
        "image": "redis:8",
        "ports": "127.0.0.1:20431->6379/tcp",
        "registry": REGISTRY,
        "stack": STACK.id,
        "service": "redis",
        "digest": "d1",
        "aspects": '{"image":"i1"}',
        "data": "a1",
    } | changed
    return json.dumps(list(row.values()))


def _other(name: str, registry: str = REGISTRY, stack: str = STACK.id) -> str:
    return json.dumps([name, registry, stack, ""])


def _look(printed: Mapping[str, str]) -> objects.Look:
    """A look whose calls print what is given."""
    return objects.Look(STACK, REGISTRY, {noun: _call(f"print({text!r})") for noun, text in printed.items()})


def _call(program: str) -> cli.Call:
    """A call of Python in the place of docker."""
    arguments = [sys.executable, "-c", program]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return cli.Call(arguments, "look", process)


def test_our_container_is_a_service() -> None:
    """A container with our labels is the service they name, with its digest and its published ports."""
    seen = _look({"container": _container()}).result()
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
    found = _look({"container": _container(state=state, status=status)}).result().services["redis"]
    assert (found.state, found.exit_code) == (expected, code)


def test_moved_image_is_noticed() -> None:
    """A container whose tag now names another image shows an image id in place of the reference."""
    assert _look({"container": _container(image="sha256:" + "0" * 64)}).result().services["redis"].image_moved
    assert _look({"container": _container(image="0123456789ab")}).result().services["redis"].image_moved
    assert not _look({"container": _container(image="registry:5000/deadbeef:1")}).result().services["redis"].image_moved


@pytest.mark.parametrize("changed", [{"registry": ""}, {"registry": "d" * 32}, {"stack": "another"}, {"stack": ""}])
def test_labels_not_names_make_it_ours(changed: dict[str, str]) -> None:
    """A container of our name without our registry's and stack's labels is foreign, and no service."""
    seen = _look({"container": _container(**changed)}).result()
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
    seen = _look({"container": "", noun: _other(name, registry="")}).result()
    assert seen.foreign == ((f"{noun} {name}",) if foreign else ())


def test_our_networks_and_volumes() -> None:
    """What carries our labels is ours, whatever its name."""
    seen = _look({"container": "", "network": _other("n"), "volume": _other("v") + "\n" + _other("w")}).result()
    assert (seen.networks, seen.volumes, seen.foreign) == (("n",), ("v", "w"), ())


def test_other_calls_end_when_one_fails() -> None:
    """When one of several calls fails, the rest are ended, so that none goes on behind our back."""
    failing = _call("import sys; sys.exit('it is broken')")
    lasting = _call("import time; time.sleep(600)")
    look = objects.Look(STACK, REGISTRY, {"container": failing, "network": lasting})
    with pytest.raises(EngineFailed) as raised:
        look.result()
    assert raised.value.cause == "it is broken"
    assert lasting.process.returncode is not None


def test_a_call_that_hangs_is_ended() -> None:
    """A call without an answer ends at its limit, and its program with it."""
    call = _call("import time; time.sleep(600)")
    with pytest.raises(EngineTimeout):
        call.answer(limit_s=0.05)
    assert call.process.returncode is not None
