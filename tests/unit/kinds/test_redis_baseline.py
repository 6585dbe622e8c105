"""The baseline of a real Redis: what a reset puts back, whatever tests have done meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis as client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from local_server import closed_port
from real_servers import PASSWORD, eventually, running_valkey

from envctl.errors import DataFailed, ForeignServer, NoBaseline
from envctl.kinds.redis import baseline, proof
from envctl.kinds.redis.baseline import Resetter
from envctl.kinds.redis.client import ReplyError
from envctl.kinds.redis.data import own_database
from envctl.kinds.redis.protocol import layout
from envctl.kinds.redis.protocol.link import Link
from envctl.kinds.redis.resets import second
from envctl.model import Connection

Content = dict[bytes, tuple[bytes, int]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A server of these tests' own: they use FLUSHALL."""
    with running(tmp_path_factory.mktemp("valkey")) as made:
        yield made


class running:  # noqa: N801 - used as a function
    """A server with as many databases as envctl gives it."""

    def __init__(
        self, folder: Path, *arguments: str, databases: int = layout.DATABASES, port: int | None = None
    ) -> None:
        words = ("--requirepass", PASSWORD, "--databases", str(databases), *arguments)
        self._running = running_valkey(folder, *words, port=port)

    def __enter__(self) -> Connection:
        made = connection(self._running.__enter__())
        eventually(lambda: answers(made))
        return made

    def __exit__(self, *_: object) -> None:
        self._running.__exit__(None, None, None)


def connection(port: int, number: int = 0) -> Connection:
    url = f"redis://:{PASSWORD}@127.0.0.1:{port}/{number}"
    return Connection("cache", "redis", "127.0.0.1", port, url, password=PASSWORD, database=str(number))


def answers(made: Connection) -> bool:
    try:
        with Link(made, 1.0):
            return True
    except (OSError, ReplyError):
        return False


@pytest.fixture
def base(server: Connection) -> Iterator[Connection]:
    """The server, empty, as if nobody had ever taken a baseline."""
    yield server
    with Link(server) as link:
        link.ask("FLUSHALL")
        link.ask("FUNCTION", "FLUSH")


@pytest.fixture
def keys(base: Connection) -> Iterator[client.Redis]:
    """What an application does in the database."""
    with client.Redis.from_url(base.url) as link:
        yield link


def refused(command: object) -> tuple[int, str]:
    raise AssertionError("no program is needed")


def take(base: Connection) -> None:
    baseline.take(base, "auto", refused)


def content(keys: client.Redis) -> Content:
    """Every key as it is dumped, and what it has to live, in milliseconds."""
    names = keys.keys("*")
    with keys.pipeline() as pipe:
        for name in names:
            pipe.dump(name).pttl(name)
        told = pipe.execute()
    return {name: (told[2 * at], told[2 * at + 1]) for at, name in enumerate(names)}


def same(now: Content, before: Content) -> bool:
    """Whether all is as it was, but for a second of what keys have to live."""
    payloads = {key: payload for key, (payload, _) in now.items()}
    ages = [abs(now[key][1] - before[key][1]) for key in before if key in now]
    return payloads == {key: payload for key, (payload, _) in before.items()} and max(ages, default=0) < 1000


def fill(keys: client.Redis) -> None:
    """One of each type, with names and values of all bytes."""
    every_byte = bytes(range(256))
    keys.set(every_byte, every_byte * 4)
    keys.set("large", b"x" * 3_000_000)
    keys.set("number", 12)
    keys.setbit("bits", 1000, 1)
    keys.pfadd("visitors", *range(500))
    keys.set("for a while", "1", px=100_000)
    keys.hset("hash", mapping={"a": "1", "b": "2"})
    keys.hset("large hash", mapping={f"field {number}": number for number in range(2000)})
    keys.rpush("list", *range(1000))
    keys.sadd("numbers", 1, 2, 3)
    keys.sadd("words", "a", "b")
    keys.zadd("scores", {"a": 1.5, "b": -2})
    keys.geoadd("places", [13.4, 52.5, "here"])
    keys.xadd("stream", {"n": 1}, id="1-1")
    keys.xadd("stream", {"n": 2}, id="2-1")
    keys.xgroup_create("stream", "workers", id="0")
    keys.xreadgroup("workers", "one", {"stream": ">"}, count=1)


# -- what is put back --------------------------------------------------------------------------------------------------


def test_every_type_comes_back(base: Connection, keys: client.Redis) -> None:
    """Keys of every type, whatever their bytes, are as they were; what was added is gone, what was removed is there."""
    fill(keys)
    before = content(keys)
    take(base)
    keys.set("number", 13)
    keys.set("another", 1)
    keys.delete("list", "large")
    keys.persist("for a while")
    keys.xreadgroup("workers", "two", {"stream": ">"})
    keys.xack("stream", "workers", "1-1")
    keys.rename("hash", "numbers")

    report = baseline.reset(base)

    assert same(content(keys), before)
    assert (report.service, report.strategy, report.changed, report.note) == ("cache", "copy", len(before), "")


def test_what_keys_have_to_live(base: Connection, keys: client.Redis) -> None:
    """A TTL of the baseline is whole again after each reset, also when it has run out since it was taken."""
    keys.set("short", "1", px=60)
    keys.hset("session", mapping={"user": "1", "token": "x"})
    keys.execute_command("HPEXPIRE", "session", 60, "FIELDS", 1, "token")
    take(base)
    resetter = Resetter(base)
    for _ in range(2):
        eventually(lambda: not keys.exists("short") and not keys.hexists("session", "token"))
        resetter.reset()
        assert 0 < keys.pttl("short") <= 60
        assert 0 < keys.execute_command("HPTTL", "session", "FIELDS", 1, "token")[0] <= 60
        assert keys.ttl("session") == -1
    resetter.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=some.data())
def test_after_any_workload(base: Connection, keys: client.Redis, data: some.DataObject) -> None:
    """Whatever commands filled it, and whatever commands came then: after a reset all is as it was."""
    names = some.sampled_from([b"a", b"b", b"c", b"\x00\xff", b"d" * 100])
    values = some.binary(max_size=20)
    commands = some.lists(
        some.one_of(
            some.tuples(some.just("SET"), names, values),
            some.tuples(some.just("SET"), names, values, some.just("EX"), some.integers(100, 10**6)),
            some.tuples(some.just("DEL"), names),
            some.tuples(some.just("RENAME"), names, names),
            some.tuples(some.just("EXPIRE"), names, some.integers(100, 10**6)),
            some.tuples(some.just("PERSIST"), names),
            some.tuples(some.sampled_from(["LPUSH", "SADD", "PFADD", "APPEND"]), names, values),
            some.tuples(some.just("HSET"), names, values, values),
            some.tuples(some.just("HEXPIRE"), names, some.just(500), some.just("FIELDS"), some.just(1), values),
            some.tuples(some.just("ZADD"), names, some.integers(-9, 9), values),
            some.tuples(some.just("XADD"), names, some.just("*"), values, values),
            some.tuples(some.just("COPY"), names, names, some.just("DB"), some.just(3)),
            some.tuples(some.sampled_from(["FLUSHDB", "FLUSHALL"])),
            some.tuples(some.just("SWAPDB"), some.just(0), some.just(3)),
        ),
        max_size=30,
    )
    keys.flushall()
    run(keys, data.draw(commands, "before"))
    before = content(keys)
    fields = field_ages(keys)
    take(base)
    run(keys, data.draw(commands, "after"))
    baseline.reset(base)
    now = content(keys)
    assert {key: ttl > 0 for key, ttl in field_ages(keys).items()} == {key: ttl > 0 for key, ttl in fields.items()}
    # The moment at which a field of a hash ends is part of what is dumped.
    timed = {key for key, _ in fields}
    assert same({k: v for k, v in now.items() if k not in timed}, {k: v for k, v in before.items() if k not in timed})
    assert now.keys() == before.keys()


def run(keys: client.Redis, commands: list[tuple[Any, ...]]) -> None:
    with keys.pipeline(transaction=False) as pipe:
        for words in commands:
            pipe.execute_command(*words)
        pipe.execute(raise_on_error=False)


def field_ages(keys: client.Redis) -> dict[tuple[bytes, bytes], int]:
    """What each field of a hash has to live, where it does not live for ever."""
    found = {}
    for key in keys.keys("*"):
        for field in keys.hkeys(key) if keys.type(key) == b"hash" else []:
            (ttl,) = keys.execute_command("HPTTL", key, "FIELDS", 1, field)
            if ttl >= 0:
                found[key, field] = ttl
    return found


def test_a_large_baseline_is_built_beside(
    base: Connection, keys: client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large one takes the place of what is there at one moment; several at once get through, one after another."""
    monkeypatch.setattr(baseline, "AT_ONCE", 10)
    with keys.pipeline(transaction=False) as pipe:
        for number in range(5000):
            pipe.set(f"key {number}", number, px=100_000 if number % 2 else None)
        pipe.execute()
    before = content(keys)
    take(base)
    seen: set[int] = set()
    threads = [threading.Thread(target=lambda: seen.add(baseline.reset(base).changed)) for _ in range(4)]
    keys.delete("key 1", "key 2")
    for thread in threads:
        thread.start()
    sizes = {keys.dbsize() for _ in iter(lambda: any(thread.is_alive() for thread in threads), False)}
    for thread in threads:
        thread.join()
    assert (seen, sizes <= {4998, 5000}) == ({5000}, True)
    assert same(content(keys), before)
    assert keys.info("keyspace").keys() == {"db0", f"db{layout.BASELINE}", f"db{layout.NOTES}"}


def test_the_next_one_is_built_ahead(base: Connection, keys: client.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who resets again and again finds a large baseline built already, of the present one only; nothing of it stays."""
    monkeypatch.setattr(baseline, "AT_ONCE", 10)
    keys.mset({f"key {number}": number for number in range(3000)})
    keys.set("session", 1, px=100_000)
    take(base)
    notes = client.Redis.from_url(replace(base, database=str(layout.NOTES), url=f"{base.url[:-1]}{layout.NOTES}").url)
    resetter = Resetter(base)
    with notes:
        for _ in range(4):
            keys.mset({"a": 1, "key 1": "changed"})
            resetter.reset()
            assert (keys.get("a"), keys.get("key 1"), keys.dbsize()) == (None, b"1", 3001)
            assert keys.pttl("session") > 99_000
        eventually(lambda: notes.exists("ready:0"))
        keys.set("b", 1)
        take(base)
        assert (resetter.reset().changed, keys.get("b")) == (3002, b"1")
        eventually(lambda: notes.exists("ready:0"))
        keys.flushall()
        assert (resetter.reset().changed, keys.get("b")) == (3002, b"1")
        resetter.close()
        assert sorted(notes.keys("*")) == [b"baseline", b"ttl:baseline"]
    assert keys.info("keyspace").keys() == {"db0", f"db{layout.BASELINE}", f"db{layout.NOTES}"}


def test_a_workers_database_gets_the_same(base: Connection, keys: client.Redis) -> None:
    """The baseline of the environment's database is put into a worker's, and nobody else's is touched."""
    keys.set("seeded", "1")
    take(base)
    keys.set("seeded", "changed")
    worker = own_database(base, 7)
    assert baseline.reset(worker).changed == 1
    with client.Redis.from_url(worker.url) as mine:
        assert (mine.get("seeded"), keys.get("seeded")) == (b"1", b"changed")


# -- FLUSHALL and what else tests do -----------------------------------------------------------------------------------


def test_flushall_is_made_good(base: Connection, keys: client.Redis) -> None:
    """A test that empties the whole server does not lose the baseline, TTLs and all."""
    fill(keys)
    keys.hset("session", "token", "x")
    keys.execute_command("HEXPIRE", "session", 500, "FIELDS", 1, "token")
    before = content(keys)
    del before[b"session"]
    take(base)
    resetter = Resetter(base)
    keys.flushall()
    keys.script_flush()
    assert "FLUSHALL" in resetter.reset().note
    assert keys.execute_command("HTTL", "session", "FIELDS", 1, "token")[0] > 490
    now = content(keys)
    del now[b"session"]
    assert same(now, before)
    assert resetter.reset().note == ""
    resetter.close()


@pytest.mark.provokes("NO_BASELINE")
def test_what_flushall_has_lost(base: Connection, keys: client.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A baseline too large for a second copy is missed after FLUSHALL: it is never taken for an empty one."""
    monkeypatch.setattr(second, "MOST_KEYS", 1)
    keys.mset({"a": 1, "b": 2})
    take(base)
    keys.flushall()
    keys.set("c", 3)
    with pytest.raises(NoBaseline) as caught:
        baseline.reset(base)
    assert "FLUSHALL" in str(caught.value.cause)
    assert keys.get("c") == b"3"
    take(base)
    assert baseline.reset(base).changed == 1


def test_where_none_was_ever_taken(base: Connection, keys: client.Redis) -> None:
    """A server that nothing was put into on purpose is emptied: the one database, and the report says so."""
    keys.set("a", 1)
    with client.Redis.from_url(own_database(base, 1).url) as other:
        other.set("a", 1)
        report = baseline.reset(base)
        assert (report.strategy, keys.dbsize(), other.dbsize()) == ("flush", 0, 1)


def test_an_empty_baseline_is_one(base: Connection, keys: client.Redis) -> None:
    """What was empty when the baseline was taken is empty after a reset, FLUSHALL or not."""
    take(base)
    for _ in range(2):
        keys.set("a", 1)
        assert (baseline.reset(base).strategy, keys.dbsize()) == ("copy", 0)
        keys.flushall()


def test_connections_of_the_application_stay(base: Connection, keys: client.Redis) -> None:
    """Who is connected goes on, sees the baseline at once, and learns that what it watched has changed."""
    keys.set("a", 1)
    take(base)
    with keys.pipeline() as pipe:
        pipe.watch("a")
        keys.set("a", 2)
        baseline.reset(base)
        assert pipe.get("a") == b"1"
        pipe.multi()
        pipe.set("a", 3)
        with pytest.raises(client.WatchError):
            pipe.execute()


# -- whose server it is, and what goes wrong ---------------------------------------------------------------------------


def test_a_server_that_was_started_again(tmp_path: Path) -> None:
    """A resetter connects anew to a server that was started again; from its file, the baseline is there."""
    with running(tmp_path) as base, client.Redis.from_url(base.url) as keys:
        keys.set("seeded", 1)
        take(base)
        resetter = Resetter(base)
        resetter.reset()
        keys.save()
    with running(tmp_path, port=base.port), client.Redis.from_url(base.url) as keys:
        keys.delete("seeded")
        assert resetter.reset().changed == 1
        assert keys.get("seeded") == b"1"
        resetter.close()


@pytest.mark.provokes("FOREIGN_SERVER")
def test_another_server_is_not_touched(tmp_path: Path, base: Connection) -> None:
    """A server with another password, with none, or that takes any, is refused before anything is changed."""
    proof.prove(base)
    with pytest.raises(ForeignServer, match="is not service"):
        proof.prove(replace(base, password="other"))
    with pytest.raises(ForeignServer):
        Resetter(replace(base, password="other")).reset()
    with pytest.raises(ForeignServer):
        proof.prove(replace(base, password=None))
    with running(tmp_path) as other, client.Redis.from_url(other.url) as keys:
        keys.set("a", 1)
        for way in (["CONFIG", "SET", "requirepass", ""], ["ACL", "SETUSER", "default", "on", "nopass", "+@all", "~*"]):
            keys.execute_command(*way)
            with pytest.raises(ForeignServer) as caught:
                Resetter(other).reset()
            assert caught.value.exit == 78
        assert keys.get("a") == b"1"


def test_a_server_without_config_proves_itself(tmp_path: Path) -> None:
    """Where CONFIG was taken away, a server proves itself by refusing any other password."""
    with running(tmp_path, "--rename-command", "CONFIG", "") as base:
        proof.prove(base)
        with client.Redis.from_url(base.url) as keys:
            keys.execute_command("ACL", "SETUSER", "default", "nopass")
        with pytest.raises(ForeignServer, match="is not service"):
            proof.prove(base)


def test_keys_that_cannot_be_copied(tmp_path: Path) -> None:
    """Where COPY does not do, as for types of some modules, keys are written out and read again."""
    with running(tmp_path, "--rename-command", "COPY", "") as base, client.Redis.from_url(base.url) as keys:
        fill(keys)
        before = content(keys)
        take(base)
        keys.delete("list", "for a while")
        keys.set("another", 1)
        baseline.reset(base)
        assert same(content(keys), before)


@pytest.mark.provokes("DATA_FAILED")
def test_what_goes_wrong_is_told(tmp_path: Path, base: Connection) -> None:
    """A server that is gone, or has too few databases, ends in an error that says so, and what to do."""
    with pytest.raises(DataFailed) as caught:
        baseline.reset(replace(base, port=closed_port()))
    assert "refused" in str(caught.value.cause)
    with pytest.raises(DataFailed, match="put the keys back"):
        baseline.reset(replace(base, database="200"))
    with running(tmp_path, databases=16) as small:
        with pytest.raises(DataFailed) as caught:
            take(small)
        assert "--databases" in " ".join(caught.value.fix)
