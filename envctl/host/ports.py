"""Whether a TCP port of this machine can be had, and sockets that keep it until its service takes over."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from envctl.host.port_holder import holder_of
from envctl.host.port_range import PORT_RANGE
from envctl.model import LOOPBACK, PortLease

__all__ = [
    "PORT_RANGE",
    "Guard",
    "Guards",
    "can_bind",
    "ephemeral_range",
    "ephemeral_warning",
    "fixed_port_free",
    "guards",
    "holder_of",
]

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_NO_IPV6 = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}


def can_bind(port: int) -> bool:
    """Whether a plain bind of the port works on all addresses: nobody listens, connects from or guards it.

    Stricter than a server needs (it also fails within a minute of a server's last connection), which is right for a
    port that can be exchanged for the next one.
    """
    return _binds(socket.AF_INET, "0.0.0.0", port) and _binds(socket.AF_INET6, "::", port)  # noqa: S104 - never listens


def _binds(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
    except OSError as error:
        return family == socket.AF_INET6 and error.errno in _NO_IPV6
    return True


def fixed_port_free(port: int, address: str = LOOPBACK) -> bool:
    """Whether a server could listen on the port now; for ports that cannot be exchanged.

    Binds as servers do, with SO_REUSEADDR, so connections of a server that has just ended are no false alarm. Where
    this user may not bind (a port below 1024) the answer is True: the engine may, and it judges.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
            probe.listen(1)
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    return True


class Guard:
    """Keeps one port until its service takes it: bound with SO_REUSEADDR, never listening.

    On Linux such a socket makes every plain bind of the port fail and the kernel never choose it by itself, yet a
    server that sets SO_REUSEADDR (dockerd, Postgres, Valkey) binds and listens beside it. Children do not inherit it.
    """

    def __init__(self, port: int, address: str = LOOPBACK) -> None:
        """Takes the port; raises OSError where somebody has it already."""
        self.port = port
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.set_inheritable(False)
            self._socket.bind((address, port))
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Lets go of the port; again does nothing."""
        self._socket.close()

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Guards:
    """The guards of several leases.

    Attributes:
        refused: Leases whose port could not be taken: somebody has it.
    """

    def __init__(self, leases: Iterable[PortLease], address: str = LOOPBACK) -> None:
        self.refused: tuple[PortLease, ...] = ()
        self._guards: dict[int, Guard] = {}
        try:
            for lease in leases:
                self._take(lease, address)
        except BaseException:
            self.close()
            raise

    def _take(self, lease: PortLease, address: str) -> None:
        try:
            self._guards[lease.host_port] = Guard(lease.host_port, address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                self.refused = (*self.refused, lease)
            elif error.errno not in {errno.EACCES, errno.EADDRNOTAVAIL}:
                raise  # out of file descriptors, say; where this user may not bind, the engine still may

    @property
    def ports(self) -> frozenset[int]:
        """The ports that are guarded now."""
        return frozenset(self._guards)

    def release(self, port: int) -> None:
        """Closes the guard of a port that its service now holds; unknown ports are fine."""
        if guard := self._guards.pop(port, None):
            guard.close()

    def close(self) -> None:
        """Closes all of them."""
        for port in list(self._guards):
            self.release(port)


@contextmanager
def guards(leases: Iterable[PortLease], address: str = LOOPBACK) -> Iterator[Guards]:
    """Guards the ports of these leases until the end of the `with` block, or until `release` of a port."""
    held = Guards(leases, address)
    try:
        yield held
    finally:
        held.close()


def ephemeral_range() -> tuple[int, int] | None:
    """First and last port the kernel gives to outgoing connections, or None where unknown."""
    with suppress(OSError, ValueError):
        first, last = _EPHEMERAL.read_text(encoding="ascii").split()
        return int(first), int(last)
    return None


def ephemeral_warning(found: tuple[int, int] | None) -> str | None:
    """What to say where the kernel's own range overlaps the one leases come from; None where all is well."""
    if found is None or found[0] >= PORT_RANGE.stop or found[1] < PORT_RANGE.start:
        return None
    return (
        f"outgoing connections may take ports {found[0]}-{found[1]}, which overlaps {PORT_RANGE.start}-"
        f"{PORT_RANGE.stop - 1} where envctl leases ports; a start may have to be tried again. "
        'To separate them: sudo sysctl -w net.ipv4.ip_local_port_range="32768 60999"'
    )
