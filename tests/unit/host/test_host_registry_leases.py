"""Ports and subnets: given once, kept, taken back."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from registry_samples import ENGINE, THREE, claim, identity, lease

from envctl.errors import PortInUse, PortsExhausted, SubnetsExhausted
from envctl.host import ports, subnets
from envctl.host.port_range import DENIED, PORT_RANGE
from envctl.host.registry import Registry, WantedPort, port_scope
from envctl.host.registry.store import Store

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DB = WantedPort("db", "main", 5432)


def fixed(port: int, service: str = "db") -> WantedPort:
    return WantedPort(service, "main", 5432, port)


def host_ports(leases: object) -> list[int]:
    return [lease.host_port for lease in leases]  # type: ignore[attr-defined]  # its type says less than it has


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def registry(state: Path) -> Iterator[Registry]:
    with Registry.open(state) as opened:
        yield opened


def at(state: Path, moment: datetime) -> Registry:
    """The same registry at another time."""
    Registry.open(state).close()
    return Registry(Store(state), now=lambda: moment)


@contextmanager
def listening(port: int) -> Iterator[None]:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        yield


def free_port() -> int:
    start = 10_000 + os.getpid() * 11 % 9_000
    return next(port for port in (*range(start, 20_000), *range(10_000, start)) if ports.can_bind(port))


# -- ports -------------------------------------------------------------------------------------------------------------


def test_leases_are_in_the_range_in_order_and_kept(registry: Registry) -> None:
    """Asking again gives the same ports, in the order asked for."""
    record = claim(registry)
    first = lease(registry, record)
    assert [(p.service, p.port_name, p.container_port) for p in first] == [
        (w.service, w.port_name, w.container_port) for w in THREE
    ]
    assert all(port in PORT_RANGE for port in host_ports(first))
    assert lease(registry, record, tuple(reversed(THREE))) == tuple(reversed(first))
    found = registry.find(key=identity().key)
    assert found is not None
    assert set(found.stack.ports) == set(first)


def test_same_environment_has_the_same_ports_on_every_machine(tmp_path: Path) -> None:
    """Two registries that never met choose alike; another branch gets others."""
    with Registry.open(tmp_path / "a") as one, Registry.open(tmp_path / "b") as other:
        same = lease(one, claim(one)), lease(other, claim(other))
        assert host_ports(same[0]) == host_ports(same[1])
        assert set(host_ports(lease(one, claim(one, "other")))).isdisjoint(host_ports(same[0]))


def test_only_what_changed_changes(registry: Registry) -> None:
    """A service more or less, or another port inside, leaves the other services' ports alone."""
    record = claim(registry)
    postgres, redis, _ = lease(registry, record)
    changed = lease(registry, record, [THREE[0], WantedPort("redis", "main", 6380), DB])
    assert changed[0] == postgres
    assert changed[1].host_port == redis.host_port
    assert changed[1].container_port == 6380
    found = registry.find(key=identity().key)
    assert found is not None
    assert {p.service for p in found.stack.ports} == {"postgres", "redis", "db"}


def test_taken_ports_are_passed_over(registry: Registry) -> None:
    """A container that is stopped shows in no bind test, but its port is not given away."""
    record = claim(registry)
    (first,) = lease(registry, record, [DB])
    lease(registry, record, [])
    (second,) = lease(registry, record, [DB], taken={first.host_port})
    assert second.host_port != first.host_port


def test_busy_and_guarded_ports_are_passed_over(registry: Registry) -> None:
    """Neither a running server's port nor one that another registry's user guards is chosen."""
    record = claim(registry)
    (first,) = lease(registry, record, [DB], bind_check=True)
    lease(registry, record, [])
    with ports.Guard(first.host_port):
        (second,) = lease(registry, record, [DB], bind_check=True)
        lease(registry, record, [])
        with listening(second.host_port):
            (third,) = lease(registry, record, [DB], bind_check=True)
    assert len({first.host_port, second.host_port, third.host_port}) == 3


def test_ports_of_well_known_servers_are_never_chosen(registry: Registry) -> None:
    """Whoever starts MongoDB by hand finds 27017 free."""
    record = claim(registry)
    wanted = [WantedPort("db", str(number), 1) for number in range(8)]
    given = lease(registry, record, wanted, within=range(27010, 27023))
    assert DENIED.isdisjoint(host_ports(given))


def test_fixed_port_is_given_even_outside_the_range(registry: Registry) -> None:
    """The user's port is the user's port."""
    port = free_port()
    (given,) = lease(registry, claim(registry), [fixed(port)], bind_check=True)
    assert given.host_port == port
    assert given.fixed


def test_fixed_port_of_another_environment_is_an_error_that_names_it(registry: Registry) -> None:
    """The second environment learns who has the port; the first keeps it."""
    first = claim(registry)
    lease(registry, first, [fixed(5432)])
    with pytest.raises(PortInUse) as caught:
        lease(registry, claim(registry, "other"), [DB, fixed(5432, "web")])
    assert first.identity.name in caught.value.message
    assert caught.value.subject["port"] == 5432
    other = registry.find(key=identity("other").key)
    assert other is not None
    assert other.stack.ports == ()


def test_fixed_port_in_use_names_the_process(registry: Registry) -> None:
    """The error says whom to stop."""
    record, port = claim(registry), free_port()
    with listening(port), pytest.raises(PortInUse) as caught:
        lease(registry, record, [fixed(port)], bind_check=True)
    assert f"(pid {os.getpid()}, " in caught.value.message


def test_fixed_port_of_a_foreign_container_names_it(registry: Registry) -> None:
    """A container that only exists is named, where the caller says who it is."""
    with pytest.raises(PortInUse) as caught:
        lease(registry, claim(registry), [fixed(5432)], taken={5432: 'container "blog-db-1"'})
    assert 'container "blog-db-1"' in caught.value.message


def test_fixed_ports_may_be_swapped_while_the_services_run(registry: Registry) -> None:
    """Our own running services are not taken for strangers."""
    record, port = claim(registry), free_port()
    other = next(p for p in range(port + 1, 20_000) if ports.can_bind(p))
    lease(registry, record, [fixed(port, "a"), fixed(other, "b")], bind_check=True)
    with listening(port), listening(other):
        swapped = lease(registry, record, [fixed(other, "a"), fixed(port, "b")], bind_check=True)
    assert host_ports(swapped) == [other, port]


def test_chosen_port_avoids_the_fixed_ones_of_the_same_request(registry: Registry) -> None:
    """A fixed port inside the range, even at the preferred place, belongs to the service that fixed it."""
    record = claim(registry)
    (preferred,) = lease(registry, record, [DB])
    lease(registry, record, [])
    given = lease(registry, record, [DB, fixed(preferred.host_port, "web")])
    assert given[1].host_port == preferred.host_port
    assert given[0].host_port != preferred.host_port


def test_fixed_then_chosen_gives_up_the_fixed_port(registry: Registry) -> None:
    """Without the setting, the port comes from the range again."""
    record = claim(registry)
    lease(registry, record, [fixed(5432)])
    (given,) = lease(registry, record, [DB])
    assert given.host_port in PORT_RANGE
    assert not given.fixed


def test_exhausted_range_says_who_holds_it_and_leases_nothing(registry: Registry) -> None:
    """No endless search, no half set of ports."""
    small = range(20_000, 20_005)
    first = claim(registry)
    lease(registry, first, [WantedPort("db", str(number), 1) for number in range(4)], within=small)
    with pytest.raises(PortsExhausted) as caught:
        lease(registry, claim(registry, "other"), [DB, WantedPort("web", "main", 80)], within=small)
    assert f"4 by {first.identity.name}" in (caught.value.cause or "")
    other = registry.find(key=identity("other").key)
    assert other is not None
    assert other.stack.ports == ()


def test_quarantined_port_is_replaced_and_comes_back_later(state: Path) -> None:
    """A port the engine could not have is left alone for ten minutes."""
    registry = at(state, NOON)
    record, _ = registry.claim(identity(), **ENGINE)
    (first,) = lease(registry, record, [DB])
    registry.quarantine_port("local", first.host_port)
    (second,) = lease(registry, record, [DB])
    assert second.host_port != first.host_port
    lease(registry, record, [])
    (soon,) = lease(at(state, NOON + timedelta(seconds=599)), record, [DB])
    assert soon.host_port == second.host_port
    lease(registry, record, [])
    (later,) = lease(at(state, NOON + timedelta(seconds=600)), record, [DB])
    assert later.host_port == first.host_port


def test_kept_ports_wait_for_their_environment(state: Path) -> None:
    """`down --keep-ports`, then `up`: the same ports, though others came in between; after 30 days they are free."""
    registry = at(state, NOON)
    record = claim(registry)
    small = range(20_000, 20_003)
    held = lease(registry, record, [DB], within=small)
    registry.forget(record.identity.name, keep_ports=True)
    other = claim(registry, "other")
    taken = lease(registry, other, [DB, WantedPort("web", "main", 80)], within=small)
    assert held[0].host_port not in host_ports(taken)
    again = claim(registry)
    assert lease(registry, again, [DB], within=small) == held
    registry.forget(again.identity.name, keep_ports=True)
    late = at(state, NOON + timedelta(days=30))
    assert host_ports(lease(late, claim(late, "third"), [DB], within=small)) == [held[0].host_port]


def test_kept_ports_yield_before_the_range_is_called_full(registry: Registry) -> None:
    """A reservation is a courtesy, no reason to fail."""
    small = range(20_000, 20_002)
    first = claim(registry)
    lease(registry, first, [DB, WantedPort("web", "main", 80)], within=small)
    registry.forget(first.identity.name, keep_ports=True)
    assert len(lease(registry, claim(registry, "other"), [DB], within=small)) == 1


def test_ports_of_another_machine_are_apart(registry: Registry) -> None:
    """A remote engine's port 5432 is not this machine's."""
    remote = port_scope("ssh://build", local=False)
    assert remote != port_scope("unix:///var/run/docker.sock", local=True)
    lease(registry, claim(registry), [fixed(5432)])
    (given,) = lease(registry, claim(registry, "other"), [fixed(5432)], scope=remote)
    assert given.host_port == 5432


# -- subnets -----------------------------------------------------------------------------------------------------------


def test_subnet_is_kept_and_the_same_everywhere(registry: Registry, tmp_path: Path) -> None:
    """A stack has one subnet until it is forgotten; another machine would choose the same."""
    record = claim(registry)
    subnet = registry.lease_subnet(record.stack.id, "local")
    assert registry.lease_subnet(record.stack.id, "local", avoid=[subnet]) == subnet
    with Registry.open(tmp_path / "b") as other:
        assert other.lease_subnet(claim(other).stack.id, "local") == subnet
    found = registry.find(key=identity().key)
    assert found is not None
    assert found.stack.subnet == subnet


def test_sixty_environments_have_sixty_subnets(registry: Registry) -> None:
    """Twice what a stock engine's own pools can hold, and none overlaps another."""
    given = [registry.lease_subnet(claim(registry, f"b{n}").stack.id, "local") for n in range(60)]
    assert len(set(given)) == 60
    assert all(network.startswith("10.213.") and network.endswith("/28") for network in given)


def test_subnets_that_others_use_are_avoided(registry: Registry) -> None:
    """Networks of others and routes of a VPN are not overlapped; where all of 10/8 is routed, a pool is left."""
    record = claim(registry)
    first = registry.lease_subnet(record.stack.id, "local")
    wider = first.rsplit(".", 1)[0] + ".0/24"
    other = claim(registry, "other")
    registry.forget(record.identity.name)
    record = claim(registry)
    second = registry.lease_subnet(record.stack.id, "local", avoid=[wider, "fd00::/8", "nonsense"])
    spans = subnets.parse(wider), subnets.parse(second)
    assert spans[0] is not None
    assert spans[1] is not None
    assert not subnets.overlaps(spans[0], spans[1])
    assert registry.lease_subnet(other.stack.id, "local", avoid=["10.0.0.0/8"]).startswith("172.29.")


def test_no_subnet_left_is_an_error(registry: Registry) -> None:
    """A VPN that routes everything is told from an engine that is full."""
    with pytest.raises(SubnetsExhausted):
        registry.lease_subnet(claim(registry).stack.id, "local", avoid=["0.0.0.0/1", "128.0.0.0/1"])


def test_quarantined_subnet_is_replaced_for_a_while(state: Path) -> None:
    """A subnet the engine could not have is left alone for ten minutes."""
    registry = at(state, NOON)
    record = claim(registry)
    first = registry.lease_subnet(record.stack.id, "local")
    registry.quarantine_subnet("local", first)
    second = registry.lease_subnet(record.stack.id, "local")
    assert second != first
    registry.quarantine_subnet("local", second)
    assert at(state, NOON + timedelta(seconds=601)).lease_subnet(record.stack.id, "local") == first
