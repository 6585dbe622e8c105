"""Rows written again from labels."""

from __future__ import annotations

import pytest
import stand_in as sample
from stand_in import StandIn

from envctl.conductor import repair
from envctl.errors import EngineUnreachable, Interrupted
from envctl.host.registry import Registry, WantedPort
from envctl.model import EnvironmentState


def test_what_runs_is_written_down_again(registry: Registry, stand_in: StandIn) -> None:
    """Identity, stack, ports, subnet and passwords come back; the state is one that the next `up` looks at."""
    stand_in.stacks = [sample.found("main", 20431), sample.found("other", 20432)]
    added = repair.from_labels(registry, {})
    assert added == tuple(one.identity.name for one in stand_in.stacks)
    record = registry.find(name=added[0])
    assert record is not None
    assert record.state is EnvironmentState.DEGRADED
    assert record.identity == stand_in.stacks[0].identity
    assert record.stack.credentials == {"redis": {"password": "p" * 32}}
    assert [lease.host_port for lease in record.stack.ports] == [20431]
    assert record.created_at.isoformat() == "2026-11-22T10:00:00+00:00"
    assert not registry.needs_repair


def test_found_ports_are_held(registry: Registry, stand_in: StandIn) -> None:
    """A port of an environment that was found again is not leased to another one."""
    stand_in.stacks = [sample.found("main", 20431)]
    repair.from_labels(registry, {})
    other, _ = registry.claim(sample.identity("new"), engine="compose", endpoint=sample.ADDRESS)
    wanted = [WantedPort("redis", "main", 6379)]
    scope = repair.port_scope(sample.ADDRESS, local=True)
    leases = registry.lease_ports(other.stack.id, wanted, scope=scope, bind_check=False, within=range(20431, 20433))
    assert [lease.host_port for lease in leases] == [20432]


def test_kept_data_is_an_environment_that_is_down(registry: Registry, stand_in: StandIn) -> None:
    """Volumes that survived `down` are known again as that, so that the next `up` uses them."""
    stand_in.stacks = [sample.found("main", 0, only_data=True)]
    (name,) = repair.from_labels(registry, {})
    record = registry.find(name=name)
    assert record is not None
    assert record.state is EnvironmentState.DOWN


def test_known_rows_stay(registry: Registry, stand_in: StandIn) -> None:
    """What is recorded already is not replaced by what labels tell."""
    registry.claim(sample.identity("main"), engine="compose", endpoint=sample.ADDRESS)
    stand_in.stacks = [sample.found("main", 20431)]
    assert repair.from_labels(registry, {}) == ()


def test_repair_waits_for_an_engine_that_does_not_answer(registry: Registry, stand_in: StandIn) -> None:
    """Without the engine nothing can be found: the repair is left for a later command, and this one goes on."""
    stand_in.failure = EngineUnreachable("it is away")
    registry.mark_repaired = lambda: pytest.fail("repaired")  # type: ignore[method-assign]  # for this test alone
    assert repair.from_labels(registry, {}) == ()


def test_a_signal_ends_the_repair(registry: Registry, stand_in: StandIn) -> None:
    """Ctrl-C is not taken for an engine that does not answer."""
    stand_in.failure = Interrupted(2)
    with pytest.raises(Interrupted):
        repair.from_labels(registry, {})


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-45"])
def test_labels_that_make_no_sense(registry: Registry, stand_in: StandIn, text: str) -> None:
    """A time that cannot be read costs the time, not the environment."""
    stand_in.stacks = [sample.found("main", 20431, created_at=text, expires_at=text)]
    (name,) = repair.from_labels(registry, {})
    record = registry.find(name=name)
    assert record is not None
    assert record.expires_at is None
