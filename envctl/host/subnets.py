"""IPv4 networks as pairs of integers, and those this machine already routes somewhere.

By hand because `ipaddress` costs several milliseconds to import, and this runs before every `up`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

Span = tuple[int, int]
"""First and last address of a network, both included."""

_ROUTES = Path("/proc/net/route")


def host_networks(routes: Path = _ROUTES) -> tuple[str, ...]:
    """Networks that this machine has a route to, apart from the default route: "172.17.0.0/16".

    A network of ours must not overlap them, or their hosts (a VPN's, say) would become unreachable. Only sensible
    for an engine on this machine. What cannot be read counts as none: the engine itself judges last.
    """
    try:
        lines = routes.read_text(encoding="ascii").splitlines()[1:]
    except (OSError, ValueError):
        return ()
    found = dict.fromkeys(_networks(lines))
    return tuple(found)


def _networks(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        fields = line.split()
        try:
            address, mask = _host_order(fields[1]), _host_order(fields[7])
        except (IndexError, ValueError):
            continue
        if mask:
            yield f"{_dotted(address)}/{mask.bit_count()}"


def _host_order(digits: str) -> int:
    """The kernel prints addresses of network order as numbers of its own order."""
    return int.from_bytes(int(digits, 16).to_bytes(4, sys.byteorder), "big")


def parse(network: str) -> Span | None:
    """First and last address of "10.213.0.0/28" or a single address; None for anything that is not IPv4."""
    address, _, prefix = network.partition("/")
    try:
        parts = [int(part) for part in address.split(".")]
        length = int(prefix or 32)
    except ValueError:
        return None
    if len(parts) != 4 or not all(0 <= part <= 255 for part in parts) or not 0 <= length <= 32:
        return None
    size = 1 << (32 - length)
    first = int.from_bytes(bytes(parts), "big") // size * size
    return first, first + size - 1


def overlaps(one: Span, other: Span) -> bool:
    """Whether the two have an address in common."""
    return one[0] <= other[1] and other[0] <= one[1]


def blocks(pool: str, prefix: int, start: int = 0) -> Iterator[str]:
    """All networks of this prefix length inside `pool`, once round from number `start` (taken modulo their number)."""
    span = parse(pool)
    if span is None:
        raise ValueError(f"not an IPv4 network: {pool!r}")
    step = 1 << (32 - prefix)
    number = (span[1] - span[0] + 1) // step
    for offset in range(number):
        yield f"{_dotted(span[0] + (start + offset) % number * step)}/{prefix}"


def _dotted(address: int) -> str:
    return ".".join(str(byte) for byte in address.to_bytes(4, "big"))
