"""Bind checks, guards, and who has a port."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from envctl.host import clock, ports
from envctl.host.port_range import PORT_RANGE
from envctl.model import PortLease

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - never bound


@pytest.fixture
def port() -> int:
    """A port outside the leased range that nobody has; another for each test, so that no test waits for TIME_WAIT."""
    start = 10_000 + os.getpid() * 7 % 9_000
    return next(p for p in (*range(start, 20_000), *range(10_000, start)) if ports.can_bind(p))


@contextmanager
def bound(port: int, address: str = LOOPBACK, *, reuse: bool = False, listen: bool = False) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as held:
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if reuse:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((address, port))
        if listen:
            held.listen()
        yield held


def lease(port: int) -> PortLease:
    return PortLease("db", "main", 5432, port)


@pytest.mark.parametrize("address", [LOOPBACK, EVERYWHERE, "127.0.0.2", "::1"])
def test_listener_on_any_address_rules_a_port_out(port: int, address: str) -> None:
    """A leased port is free on every address, so no client can reach the wrong server."""
    with bound(port, address, reuse=True, listen=True):
        assert not ports.can_bind(port)
    assert ports.can_bind(port)


def test_guard_blocks_plain_binds_but_not_servers(port: int) -> None:
    """While guarded, a plain bind fails and a server that sets SO_REUSEADDR serves."""
    with ports.guards([lease(port)]):
        with pytest.raises(OSError, match="in use"), bound(port):
            pass
        assert not ports.can_bind(port)
        assert ports.fixed_port_free(port)
        with bound(port, reuse=True, listen=True) as server, socket.create_connection((LOOPBACK, port)) as client:
            server.accept()[0].close()
            assert client.recv(1) == b""


def test_server_goes_on_when_its_guard_closes(port: int) -> None:
    """Handing over does not disturb the server that took the port."""
    with ExitStack() as stack:
        held = stack.enter_context(ports.guards([lease(port)]))
        server = stack.enter_context(bound(port, reuse=True, listen=True))
        held.release(port)
        assert held.ports == frozenset()
        client = stack.enter_context(socket.create_connection((LOOPBACK, port)))
        accepted = stack.enter_context(server.accept()[0])
        accepted.sendall(b"x")
        assert client.recv(1) == b"x"


def test_kernel_never_chooses_a_guarded_port() -> None:
    """Neither bind to port 0 nor an outgoing connection gets a guarded port by chance, even from a range of just it."""
    first, last = ports.ephemeral_range() or (32768, 60999)
    port = next(p for p in range(first + os.getpid() % 5000, last) if ports.can_bind(p))
    ip_local_port_range = 51  # include/uapi/linux/in.h, since Linux 6.3; lower port in the lower half

    def limited() -> socket.socket:
        made = socket.socket()
        try:
            made.setsockopt(socket.IPPROTO_IP, ip_local_port_range, struct.pack("I", port << 16 | port))
        except OSError:
            made.close()
            pytest.skip("the kernel is older than 6.3: the choice of one socket cannot be narrowed")
        return made

    with limited() as chosen:
        chosen.bind((LOOPBACK, 0))
        assert chosen.getsockname()[1] == port  # unguarded, the kernel does choose it
    with ports.guards([lease(port)]), bound(0, listen=True) as server:
        with limited() as chosen, pytest.raises(OSError, match="in use"):
            chosen.bind((LOOPBACK, 0))
        with limited() as client, pytest.raises(OSError, match="assign requested address"):
            client.connect(server.getsockname())


def test_refused_guard_is_reported_and_the_others_hold(port: int) -> None:
    """Somebody who was faster is reported, so that another port can be leased."""
    other = next(p for p in range(port + 1, 20_000) if ports.can_bind(p))
    with bound(port, listen=True), ports.guards([lease(port), lease(other)]) as held:
        assert held.refused == (lease(port),)
        assert held.ports == frozenset({other})


def test_guards_end_with_the_block() -> None:
    """Nothing stays after an error."""
    port = next(p for p in range(19_000, 20_000) if ports.can_bind(p))

    def fail_while_guarding() -> None:
        with ports.guards([lease(port)]):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_while_guarding()
    assert ports.can_bind(port)


def test_children_do_not_inherit_a_guard(port: int) -> None:
    """A child that was started carelessly does not keep the port."""
    with ports.Guard(port):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        assert ports.can_bind(port)
    finally:
        child.kill()
        child.wait()


def test_ended_connections_are_no_false_alarm_for_a_fixed_port(port: int) -> None:
    """`down` and `up` at once of a fixed port work, though the kernel remembers the old connections for a minute."""
    with bound(port, reuse=True, listen=True) as server:
        client = socket.create_connection((LOOPBACK, port))
        server.accept()[0].close()  # the server's side closes first and so has the TIME_WAIT
        client.recv(1)
        client.close()
    assert ports.fixed_port_free(port)
    assert not ports.can_bind(port)
    assert "less than a minute ago" in (ports.holder_of(port) or "")


def test_fixed_port_ignores_other_loopback_addresses(port: int) -> None:
    """Somebody's server on 127.0.0.2 does not stand in the way of ours on 127.0.0.1; a wildcard one does."""
    with bound(port, "127.0.0.2", listen=True):
        assert ports.fixed_port_free(port)
    with bound(port, EVERYWHERE, listen=True):
        assert not ports.fixed_port_free(port)


def test_holder_is_named_with_process_and_user(port: int) -> None:
    """The error for a port in use says whom to stop."""
    with bound(port, listen=True):
        holder = ports.holder_of(port) or ""
    assert f"(pid {os.getpid()}, user " in holder
    assert ports.holder_of(port) is None


def test_outgoing_connection_is_named_as_such(port: int) -> None:
    """A client that happens to use the port is not called a server."""
    with bound(0, listen=True) as server, socket.socket() as client:
        client.bind((LOOPBACK, port))
        client.connect(server.getsockname())
        assert (ports.holder_of(port) or "").startswith("an outgoing connection of ")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # no TIME_WAIT


def test_listener_of_another_process_is_found(port: int) -> None:
    """The holder is found in other processes too."""
    code = (
        f"import socket, sys; s = socket.socket(); s.bind(('127.0.0.1', {port})); s.listen();"
        "print(1, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert f"(pid {process.pid}," in (ports.holder_of(port) or "")
        process.kill()


@pytest.mark.parametrize(
    ("found", "warned"),
    [((32768, 60999), False), ((1024, 65535), True), ((29999, 40000), True), ((1024, 19999), False), (None, False)],
)
def test_overlap_with_the_kernels_own_range_is_warned_about(found: tuple[int, int] | None, warned: bool) -> None:
    """Whoever widened the kernel's range learns the command that separates the two."""
    warning = ports.ephemeral_warning(found)
    assert (warning is not None) == warned
    assert warning is None or "sysctl" in warning


def test_ephemeral_range_of_this_machine_is_read() -> None:
    """The range is a pair of ports, the first below the last."""
    found = ports.ephemeral_range()
    assert found is not None
    assert 0 < found[0] < found[1] < 65536


def test_leased_range_is_below_what_kernel_and_swarm_use() -> None:
    """Kernel 32768 and up, Swarm and NodePort 30000 and up."""
    assert PORT_RANGE.start >= 1024
    assert PORT_RANGE.stop <= 30000


def test_checks_are_fast_enough_for_every_up(port: int) -> None:
    """A check costs microseconds: it runs inside the registry's write lock."""
    start = clock.monotonic_s()
    for _ in range(100):
        ports.can_bind(port)
    assert clock.monotonic_s() - start < 0.5
