"""Who uses an environment: sessions begin, share, end, and the last one takes it along."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from registry_samples import claim, identity

from envctl.errors import CannotWrite
from envctl.host import clock, owner
from envctl.host.registry import EnvironmentRecord, Registry, schema
from envctl.model import EnvironmentState, Owner, SessionRequest

STATES = [EnvironmentState.READY, EnvironmentState.DEGRADED, EnvironmentState.STOPPED]


def dead() -> Owner:
    """A process that is no more."""
    return replace(owner.current(), start_ticks=1)


def request(name: str = "first", *, of: Owner | None = None, keep: bool = False) -> SessionRequest:
    return SessionRequest(name, "pytest", of or owner.current(), keep)


def made_for(
    registry: Registry, session: SessionRequest, state: EnvironmentState = EnvironmentState.READY
) -> EnvironmentRecord:
    """An environment that was made for a session."""
    made = claim(registry, session=session, ttl_s=60)
    registry.set_state(made.identity.name, state)
    return made


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "state") as opened:
        yield opened


def now(registry: Registry) -> EnvironmentRecord:
    found = registry.find(key=identity().key)
    assert found is not None
    return found


def ids(registry: Registry) -> dict[str, int]:
    """Session → slot."""
    return {session.id: session.slot for session in now(registry).sessions}


# -- beginning -------------------------------------------------------------------------------------------------------


def test_a_session_begins_with_what_is_made_for_it(registry: Registry) -> None:
    """In one step: there is no moment at which nobody is responsible."""
    made = claim(registry, session=request())
    assert made.ephemeral
    ((only),) = made.sessions
    assert (only.id, only.purpose, only.slot, only.owner) == ("first", "pytest", 1, owner.current())
    assert registry.find_session("first") == made
    assert registry.sessions_of(owner.current()) == ("first",)
    assert registry.sessions_of(dead()) == ()


def test_one_that_is_to_be_kept_goes_with_nobody(registry: Registry) -> None:
    """Neither a new one, nor one that was made for another session."""
    assert not claim(registry, session=request(keep=True)).ephemeral
    registry.forget(identity().name)
    made_for(registry, request())
    assert registry.attach(identity().key, request("second", keep=True))
    assert not now(registry).ephemeral


@pytest.mark.parametrize("state", EnvironmentState)
def test_who_may_begin_to_use_it(registry: Registry, state: EnvironmentState) -> None:
    """Only what is up, and not what is being removed; again changes nothing."""
    made = made_for(registry, request(), state)
    assert registry.attach(made.identity.key, request("second")) is (state in STATES)
    assert registry.attach(made.identity.key, request("second")) is (state in STATES)
    assert ids(registry) == {"first": 1, **({"second": 2} if state in STATES else {})}
    assert not registry.attach("0" * 64, request("third"))


def test_nobody_uses_what_belongs_to_nobody(registry: Registry) -> None:
    """What was made for processes that have died is to be removed; with one that lives it is not."""
    made = made_for(registry, request(of=dead()))
    assert registry.is_orphan(now(registry))
    assert not registry.attach(made.identity.key, request("second"))
    registry.begin_session(made.identity.name, request("third"))
    assert not registry.is_orphan(now(registry))
    assert registry.attach(made.identity.key, request("second"))


def test_slots_are_the_smallest_that_are_free(registry: Registry) -> None:
    """No two live sessions have the same; what has ended is used again."""
    made = made_for(registry, request("a"))
    for name in ("b", "c"):
        registry.attach(made.identity.key, request(name))
    registry.end_session("b")
    registry.attach(made.identity.key, request("d"))
    registry.attach(made.identity.key, request("e"))
    assert ids(registry) == {"a": 1, "d": 2, "c": 3, "e": 4}


def test_sessions_go_with_their_environment(registry: Registry) -> None:
    """Whoever removes it ends them."""
    made_for(registry, request())
    registry.forget(identity().name)
    assert registry.find_session("first") is None
    assert registry.end_session("first") is None


# -- ending ----------------------------------------------------------------------------------------------------------


def test_the_last_one_takes_it_along(registry: Registry) -> None:
    """In the step in which it ends the environment is marked, so that nobody begins to use it in between."""
    made = made_for(registry, request())
    registry.attach(made.identity.key, request("second"))
    assert registry.end_session("first", locked=False) is None
    assert registry.end_session("second", locked=False) == now(registry), "it is to be removed, and was not changed"
    assert ids(registry) == {"second": 2}
    gone = registry.end_session("second")
    assert gone is not None
    assert gone.identity == made.identity
    assert now(registry).state is EnvironmentState.REMOVING
    assert now(registry).owner == owner.current()
    assert not registry.attach(made.identity.key, request("third"))
    assert registry.end_session("second") is None


def test_those_who_have_died_are_not_waited_for(registry: Registry) -> None:
    """They end with the next session that ends."""
    made = made_for(registry, request(of=dead()))
    registry.begin_session(made.identity.name, request("second"))
    assert registry.end_session("second") is not None
    assert ids(registry) == {}


@pytest.mark.parametrize("locked", [True, False])
def test_what_stays(registry: Registry, locked: bool) -> None:
    """What was not made for a session, and what is kept when one ends, whoever ends after it."""
    made = claim(registry)
    registry.set_state(made.identity.name, EnvironmentState.READY)
    registry.attach(made.identity.key, request())
    assert registry.end_session("first", locked=locked) is None
    registry.forget(made.identity.name)
    made = made_for(registry, request("second"))
    registry.attach(made.identity.key, request("third"))
    assert registry.end_session("second", keep=True, locked=locked) is None
    assert registry.end_session("third", locked=locked) is None
    assert now(registry).state is EnvironmentState.READY
    assert not now(registry).ephemeral


def test_its_life_begins_anew_when_a_session_ends(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of hours is use until its end. The clock is a test's: hours cannot be waited for."""
    made = made_for(registry, request())
    registry.attach(made.identity.key, request("second"))
    before_s = made.expires_boot[1] if made.expires_boot else 0
    monkeypatch.setattr(clock, "boot_s", lambda: before_s + 7200)
    registry.end_session("second")
    assert now(registry).expires_boot == (owner.boot_id(), before_s + 7200 + 60)


def test_many_begin_and_end_at_once(registry: Registry, tmp_path: Path) -> None:
    """Each has a slot of its own, and exactly one of them is told to remove it."""
    made = made_for(registry, request("0"))

    def use(name: str) -> int:
        with Registry.open(tmp_path / "state") as own:
            assert own.attach(made.identity.key, request(name))
            return {session.id: session.slot for session in now(own).sessions}[name]

    def end(name: str) -> bool:
        with Registry.open(tmp_path / "state") as own:
            return own.end_session(name) is not None

    names = [str(number) for number in range(1, 13)]
    with ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(use, names)) == list(range(2, 14))
        assert sum(threads.map(end, ["0", *names])) == 1


# -- removing --------------------------------------------------------------------------------------------------------


def test_removal_begins_where_nobody_else_uses_it(registry: Registry) -> None:
    """Others who live are named, and nothing is changed; who has died is nobody."""
    made = made_for(registry, request())
    registry.begin_session(made.identity.name, request("dead", of=dead()))
    registry.begin_session(made.identity.name, request("second"))
    others = registry.begin_removal(made.identity.name, lambda session: session.id == "first")
    assert [session.id for session in others] == ["second"]
    assert now(registry).state is EnvironmentState.READY
    assert registry.begin_removal(made.identity.name, lambda session: session.id != "dead") == ()
    assert now(registry).state is EnvironmentState.REMOVING
    assert registry.begin_removal("nobody-00000000", lambda _: False) == ()


def test_ending_and_removing_work_where_the_disk_is_full(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The space that was put aside is given back first. The full disk is a stand-in for the one in tests/embedded."""
    made = made_for(registry, request())
    reserve = registry._store.state / "reserve"
    transaction = registry._store.transaction

    def full(*, write: bool) -> object:
        if write and reserve.exists():
            raise CannotWrite("the disk is full")
        return transaction(write=write)

    monkeypatch.setattr(registry._store, "transaction", full)
    assert registry.end_session("first") is not None
    reserve.write_bytes(b"again")
    assert registry.begin_removal(made.identity.name, lambda _: False) == ()
    reserve.write_bytes(b"again")
    with pytest.raises(CannotWrite):
        registry.attach(made.identity.key, request("second"))


def test_what_may_be_due(registry: Registry) -> None:
    """Only what goes by itself is looked at more closely by every command."""
    claim(registry)
    assert not registry.may_be_due()
    claim(registry, "expires", ttl_s=60)
    assert registry.may_be_due()
    registry.forget(identity("expires").name)
    claim(registry, "run", session=request())
    assert registry.may_be_due()
    registry.adopt(identity("run").name)
    assert not registry.may_be_due()


def test_a_registry_of_version_1_gets_sessions(tmp_path: Path) -> None:
    """Rows of before belong to no session, and never expire by themselves."""
    state = tmp_path / "state"
    recorded = Path(__file__).parents[2] / "embedded" / "registry_v1.sql"
    with Registry.open(state) as made:
        claim(made)
    old = state / "old.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(recorded.read_text())
        connection.execute("ATTACH ? AS now", (str(state / "registry.db"),))
        for table in ("meta", "stacks", "environments"):
            names = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
            connection.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM now.{table}")
        connection.commit()
    old.replace(state / "registry.db")
    with Registry.open(state) as registry:
        found = now(registry)
        assert (found.ephemeral, found.sessions, found.ttl_s, found.expires_boot) == (False, (), None, None)
        registry.begin_session(found.identity.name, request())
        assert ids(registry) == {"first": 1}


def test_a_registry_of_version_2_keeps_its_sessions(tmp_path: Path) -> None:
    """Environments and the sessions that use them stay when the state `dirty` comes, and can be dirty from then on."""
    state = tmp_path / "state"
    with Registry.open(state) as made:
        claim(made, session=request())
    with closing(sqlite3.connect(state / "old.db")) as old:
        for version in (0, 1):
            old.executescript(schema.MIGRATIONS[version])
        old.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        old.execute("PRAGMA user_version = 2")
        old.execute("ATTACH ? AS now", (str(state / "registry.db"),))
        for table in ("meta", "stacks", "environments", "sessions"):
            old.execute(f"INSERT INTO main.{table} SELECT * FROM now.{table}")
        old.commit()
    (state / "old.db").replace(state / "registry.db")
    with Registry.open(state) as registry:
        assert ids(registry) == {"first": 1}
        registry.set_state(now(registry).identity.name, EnvironmentState.DIRTY)
        registry.forget(now(registry).identity.name)
        assert registry.find_session("first") is None


# -- numbers that are lent --------------------------------------------------------------------------------------------


def test_a_number_is_of_one_user_alone(registry: Registry) -> None:
    """What is lent is no session's slot, nor the other way round; it is free with its session's end, or given back."""
    name = made_for(registry, request()).identity.name

    def lend(called: str | None, session: str = "") -> int:
        return registry.lend(name, "redis", 3, name=called, made_for="a test", session=session)[0].number

    assert [lend("a", "first"), lend("a"), lend(None)] == [3, 3, 2]
    with pytest.raises(LookupError):
        lend("b")
    registry.attach(identity().key, request("second"))
    assert ids(registry) == {"first": 1, "second": 4}
    registry.end_session("first")
    assert [lend("b"), lend("c")] == [3, 1]
    registry.give_back(name, "redis", 2)
    assert [(one.number, one.name) for one in registry.lent(name, "redis")] == [(3, "b"), (1, "c")]
    registry.forget(name)
    assert registry.lent(name, "redis") == []
