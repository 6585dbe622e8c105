"""Networks as numbers, and the routes of this machine."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envctl.host import subnets

NETWORKS = st.builds(
    lambda address, prefix: str(ipaddress.ip_network((address, prefix), strict=False)),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)


@given(NETWORKS, NETWORKS)
def test_overlap_is_what_the_standard_library_says(one: str, other: str) -> None:
    """Our own arithmetic, chosen for its import time, agrees with `ipaddress`."""
    first, second = subnets.parse(one), subnets.parse(other)
    assert first is not None
    assert second is not None
    assert subnets.overlaps(first, second) == ipaddress.ip_network(one).overlaps(ipaddress.ip_network(other))


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.256/8", "10.0.0.0/33", "fd00::/8", "a.b.c.d", "10.0.0.0/x"])
def test_what_is_not_ipv4_is_none(text: str) -> None:
    """IPv6 networks of other programs are passed over, not misread."""
    assert subnets.parse(text) is None


def test_single_address_and_host_bits() -> None:
    """A host route is a network of one; host bits do not matter."""
    assert subnets.parse("10.0.0.7") == (0x0A000007, 0x0A000007)
    assert subnets.parse("10.0.0.7/24") == (0x0A000000, 0x0A0000FF)


def test_blocks_cover_the_pool() -> None:
    """A /16 holds 4096 networks of 16 addresses, in order."""
    found = list(subnets.blocks("10.213.0.0/16", 28))
    assert len(found) == 4096
    assert found[0] == "10.213.0.0/28"
    assert found[17] == "10.213.1.16/28"
    assert found[-1] == "10.213.255.240/28"
    turned = list(subnets.blocks("10.213.0.0/16", 28, start=4096 + 4095))
    assert turned[:2] == [found[-1], found[0]]
    assert set(turned) == set(found)


def test_routes_are_read_as_the_kernel_writes_them(tmp_path: Path) -> None:
    """The default route counts for nothing; every other is a network to avoid; as little-endian machines have it."""
    table = tmp_path / "route"
    table.write_text(
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "tun0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n"
        "tun0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n"
        "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        "wg0\t0100D50A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n"
        "broken line\n"
    )
    assert subnets.host_networks(table) == ("10.0.0.0/8", "172.17.0.0/16", "10.213.0.1/32")


def test_unreadable_routes_count_as_none(tmp_path: Path) -> None:
    """Where there is no /proc the engine judges alone."""
    assert subnets.host_networks(tmp_path / "absent") == ()
    assert all(subnets.parse(network) for network in subnets.host_networks())
