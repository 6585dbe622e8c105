"""Environments in the registry: claimed, found, changed, forgotten, restored."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from registry_samples import ENGINE, claim, identity, lease
from registry_samples import THREE as WANTED

from envctl.errors import EnvironmentNotFound, NotOurs
from envctl.host import owner
from envctl.host.registry import Registry
from envctl.host.registry.records import EnvironmentRecord
from envctl.host.registry.store import Store
from envctl.model import EnvironmentState, SessionRequest

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


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


def test_claim_writes_down_everything_before_anything_is_made(registry: Registry) -> None:
    """The intent is complete: whose, what, where, until when, and who is at work."""
    record = claim(
        registry,
        host="10.0.0.1",
        publish_address="0.0.0.0",  # noqa: S104 - never bound
        config_file="/home/me/shop/envctl.yaml",
        credentials={"postgres": {"password": "ä'\"$\n"}},
        ttl_s=3600,
        branch_source="git",
        session=SessionRequest("5e5510", "pytest", owner.current()),
    )
    assert record.identity == identity()
    assert record.state is EnvironmentState.CREATING
    assert record.stack.project == f"envctl-{identity().name}"
    assert len(record.stack.id) == 12
    assert record.owner == owner.current()
    assert record.expires_at == record.created_at + timedelta(hours=1)
    assert registry.find(key=identity().key) == record
    assert registry.find(name=identity().name) == record


def test_second_claim_gets_the_first_ones_record(registry: Registry) -> None:
    """Asking again changes nothing and does not make a second stack."""
    first, created = registry.claim(identity(), **ENGINE, credentials={"a": {"password": "1"}})
    second, again = registry.claim(identity(), **ENGINE, credentials={"a": {"password": "2"}})
    assert (created, again) == (True, False)
    assert second == first


def test_name_of_another_key_is_refused(registry: Registry) -> None:
    """Two environments never share a name, or they would share containers."""
    claim(registry)
    twin = identity("other")
    clash = type(twin)(twin.project, twin.branch, twin.checkout, twin.label, twin.key, identity().name)
    with pytest.raises(NotOurs):
        registry.claim(clash, **ENGINE)
    assert [record.identity for record in registry.all()] == [identity()]


@pytest.mark.parametrize("branch", ["$(id)", "a;b", "'\"", "‮x", "x" * 240, "é/ñ", "-- DROP TABLE stacks"])
def test_any_branch_name_survives(registry: Registry, branch: str) -> None:
    """The raw branch name comes back as it was."""
    claim(registry, branch)
    found = registry.find_in_checkout("/home/me/shop", branch, "")
    assert found is not None
    assert found.identity.branch == branch


def test_find_tells_checkout_branch_and_label_apart(registry: Registry) -> None:
    """Each of the three makes another environment."""
    for some in (identity(), identity("other"), identity(checkout="/else"), identity(label="second")):
        registry.claim(some, **ENGINE)
    assert len(registry.all()) == 4
    found = registry.find_in_checkout("/home/me/shop", "main", "second")
    assert found is not None
    assert found.identity == identity(label="second")
    assert registry.find_in_checkout("/home/me/shop", "none", "") is None
    assert registry.find(name="none") is None


def test_done_mark_brings_the_details_back(registry: Registry) -> None:
    """What was stored when the environment was ready is what `env` prints later."""
    claim(registry)
    details = {"variables": {"DATABASE_URL": "postgresql://ü"}, "timings_ms": {"total": 650}}
    registry.set_state(identity().name, EnvironmentState.READY, details=details)
    found = registry.find(key=identity().key)
    assert found is not None
    assert found.state is EnvironmentState.READY
    assert found.details == details
    registry.set_state(identity().name, EnvironmentState.DEGRADED)
    after = registry.find(key=identity().key)
    assert after is not None
    assert after.details == details


def test_secrets_are_not_in_the_repr(registry: Registry) -> None:
    """A record in a log or a traceback shows no password."""
    claim(registry, credentials={"postgres": {"password": "hunter2"}})
    registry.set_state(identity().name, EnvironmentState.READY, details={"url": "hunter2"})
    assert "hunter2" not in repr(registry.find(key=identity().key))


def test_removal_belongs_to_who_began_it(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that says "removing" names the process at work, so that others know when it died."""
    dead = type(owner.current())(owner.current().boot_id, 1, 1)
    with monkeypatch.context() as patch:
        patch.setattr(owner, "current", lambda: dead)
        claim(registry)
    before = registry.find(key=identity().key)
    assert before is not None
    assert not owner.is_alive(before.owner)
    registry.set_state(identity().name, EnvironmentState.STOPPED)
    registry.mark_removing(identity().name)
    found = registry.find(key=identity().key)
    assert found is not None
    assert found.state is EnvironmentState.REMOVING
    assert found.owner == owner.current()


def test_forget_leaves_nothing_and_can_be_repeated(registry: Registry, state: Path) -> None:
    """After `down` the registry holds no row of the environment, and its ports are free at once."""
    record = claim(registry, credentials={"postgres": {"password": "hunter2-unique"}})
    held = lease(registry, record)
    registry.lease_subnet(record.stack.id, "local")
    registry.forget(identity().name)
    registry.forget(identity().name)
    assert registry.all() == []
    other = claim(registry, "other")
    wanted = [type(w)(w.service, w.port_name, w.container_port, held[i].host_port) for i, w in enumerate(WANTED)]
    assert [p.host_port for p in lease(registry, other, wanted)] == [p.host_port for p in held]
    registry.forget(other.identity.name)
    assert b"hunter2-unique" not in (state / "registry.db").read_bytes()  # secure_delete


def test_change_of_what_is_gone_is_an_error(registry: Registry) -> None:
    """`up` notices that a `down` was faster."""
    for change in (
        lambda: registry.set_state("gone", EnvironmentState.READY),
        lambda: registry.set_expiry("gone", None),
        lambda: registry.mark_removing("gone"),
        lambda: registry.lease_ports("gone", WANTED, scope="local", bind_check=False),
        lambda: registry.lease_subnet("gone", "local"),
    ):
        with pytest.raises(EnvironmentNotFound):
            change()


def test_use_is_noted_at_most_once_a_minute(state: Path) -> None:
    """`env` in a loop does not write to the disk each time."""
    at(state, NOON).claim(identity(), **ENGINE)
    for seconds, expected in ((59, 0), (60, 60), (90, 60), (121, 121)):
        at(state, NOON + timedelta(seconds=seconds)).renew(identity().name, None)
        found = at(state, NOON).find(key=identity().key)
        assert found is not None
        assert found.last_used_at == NOON + timedelta(seconds=expected)


def test_expiry_can_be_moved_and_taken_away(registry: Registry) -> None:
    """A second `up` with another TTL counts."""
    claim(registry, ttl_s=60)
    for expected in (NOON, None):
        registry.set_expiry(identity().name, expected)
        found = registry.find(key=identity().key)
        assert found is not None
        assert found.expires_at == expected


def test_credentials_can_be_replaced(registry: Registry) -> None:
    """A service added later gets its own password."""
    record = claim(registry, credentials={"a": {"password": "1"}})
    registry.set_credentials(record.stack.id, {"a": {"password": "1"}, "b": {"password": "2"}})
    found = registry.find(key=identity().key)
    assert found is not None
    assert found.stack.credentials == {"a": {"password": "1"}, "b": {"password": "2"}}


def test_restore_brings_environments_and_leases_back(registry: Registry, tmp_path: Path) -> None:
    """What was found by labels is as before, its ports and subnet are not given to others."""
    with Registry.open(tmp_path / "first") as first:
        record = claim(first, credentials={"postgres": {"password": "x"}})
        lease(first, record)
        first.lease_subnet(record.stack.id, "local")
        first.set_state(identity().name, EnvironmentState.READY, details={"a": 1})
        (whole,) = first.all()
    assert registry.restore([whole], scope="local") == (identity().name,)
    assert registry.all() == [whole]
    assert registry.restore([whole], scope="local") == ()
    twin = claim(registry, "other")
    assert {p.host_port for p in lease(registry, twin)}.isdisjoint(p.host_port for p in whole.stack.ports)


def test_restore_gives_no_port_to_two(registry: Registry) -> None:
    """Labels that contradict a living lease lose; the rest of that environment comes back."""
    record = claim(registry)
    lease(registry, record)
    (held,) = registry.all()
    lost = EnvironmentRecord(
        identity=identity("lost"),
        state=EnvironmentState.READY,
        stack=type(held.stack)("0" * 12, "envctl-lost", "compose", "x", ports=held.stack.ports),
        config_file=None,
        created_at=NOON,
        expires_at=None,
        last_used_at=NOON,
        owner=owner.current(),
    )
    registry.restore([lost], scope="local")
    found = registry.find(name=lost.identity.name)
    assert found is not None
    assert found.stack.ports == ()
    assert registry.find(name=identity().name) == held


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_every_file_is_private_whatever_the_umask(state: Path, mask: int) -> None:
    """Directories 0700, files 0600, from the first moment on."""
    before = os.umask(mask)
    try:
        with Registry.open(state) as registry:
            claim(registry)
    finally:
        os.umask(before)
    for path in (state, *state.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_nothing_is_made_where_nothing_is_asked_for(state: Path) -> None:
    """`ls` on a fresh machine leaves it fresh."""
    assert Registry.open(state, create=False) is None
    assert not state.exists()
    state.mkdir(mode=0o700)
    assert Registry.open(state, create=False) is None
    assert list(state.iterdir()) == []


def test_thousands_of_environments_are_no_burden(state: Path) -> None:
    """Finding one does not depend on how many there are."""
    from envctl.host import clock
    from envctl.host.registry import records

    with Registry.open(state) as registry:
        sample = claim(registry)
        with registry._store.transaction(write=True) as connection:
            for number in range(2_000):
                some = identity(f"b{number}")
                stack = type(sample.stack)(f"{number:012x}", f"envctl-{some.name}", "compose", "x")
                fields = {name: getattr(sample, name) for name in sample.__slots__}
                records.insert(connection, EnvironmentRecord(**(fields | {"identity": some, "stack": stack})))
        registry.close()
        start = clock.monotonic_s()
        assert registry.find(key=identity("b1999").key) is not None
        assert clock.monotonic_s() - start < 0.1
        assert len(registry.all()) == 2_001


def test_a_registry_that_is_let_go_is_closed(state: Path) -> None:
    """Who uses it inside of another program need not close it: since 3.13 Python warns of connections left open."""
    connection = Registry.open(state)._store.connect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")
