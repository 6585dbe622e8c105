"""Which address clients use, and where ports are published."""

from __future__ import annotations

from dataclasses import replace

import pytest

from envctl.errors import AddressUnreachable
from envctl.host.config import default_spec
from envctl.model import Capabilities, PortLease, ProcessSpec, ServiceSpec, Stack
from envctl.plan import connections
from envctl.plan.addresses import addresses

EVERYWHERE = "0.0.0.0"  # noqa: S104 - compared, not bound
LOCAL = Capabilities("compose")
REMOTE = Capabilities("compose", local=False, host="10.0.0.5", publish_address="10.0.0.5")
DESKTOP = Capabilities("compose", local=False, host="192.168.65.254", vantage="in a container")
NOWHERE = Capabilities("compose", local=False, vantage="in a container", obstacle="it has no network")


@pytest.mark.parametrize(
    ("capabilities", "chosen", "host", "published"),
    [
        (LOCAL, "127.0.0.1", "127.0.0.1", "127.0.0.1"),
        (LOCAL, EVERYWHERE, "127.0.0.1", EVERYWHERE),
        (LOCAL, "10.0.0.9", "10.0.0.9", "10.0.0.9"),
        (REMOTE, "127.0.0.1", "10.0.0.5", "10.0.0.5"),
        (REMOTE, EVERYWHERE, "10.0.0.5", EVERYWHERE),
        (DESKTOP, "127.0.0.1", "192.168.65.254", "127.0.0.1"),
        (NOWHERE, "10.0.0.9", "10.0.0.9", "10.0.0.9"),
    ],
)
def test_the_users_choice_and_where_we_stand(
    capabilities: Capabilities, chosen: str, host: str, published: str
) -> None:
    """Loopback stands for what is right from here; any other address is what the user says."""
    assert addresses(replace(default_spec(), publish_address=chosen), capabilities) == (host, published)


@pytest.mark.parametrize("chosen", ["127.0.0.1", EVERYWHERE])
def test_no_address_is_an_error(chosen: str) -> None:
    """It says where we stand and what is in the way."""
    with pytest.raises(AddressUnreachable) as caught:
        addresses(replace(default_spec(), publish_address=chosen), NOWHERE)
    assert caught.value.cause == "in a container; it has no network"


def test_processes_are_here_wherever_the_engine_is() -> None:
    """A program of the repository runs on this machine and listens on its loopback."""
    redis = default_spec().services["redis"]
    own = ServiceSpec("own", "generic", process=ProcessSpec(("true",), "/"), ports=redis.ports)
    stack = Stack(
        *("id", "project", "compose", "tcp://10.0.0.5:2375"),
        host="10.0.0.5",
        ports=(PortLease("redis", "redis", 6379, 20001), PortLease("own", "redis", 6379, 20002)),
        credentials={"redis": {"password": "p"}},
    )
    found = connections.outside(replace(default_spec(), services={"redis": redis, "own": own}), stack)
    assert {name: one.host for name, one in found.items()} == {"redis": "10.0.0.5", "own": "127.0.0.1"}
