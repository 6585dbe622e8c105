"""All of a real Redis as one stream, and back."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import redis as client
from real_servers import PASSWORD, eventually, running_valkey

from envctl.errors import DataFailed, SnapshotInvalid
from envctl.kinds.redis import dump
from envctl.kinds.redis.client import ReplyError
from envctl.kinds.redis.data import own_database
from envctl.kinds.redis.protocol import layout
from envctl.kinds.redis.protocol.link import Link
from envctl.model import Connection


def answers(made: Connection) -> bool:
    try:
        with Link(made, 1.0):
            return True
    except (OSError, ReplyError):
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A server of these tests' own: a snapshot is of all that is in it."""
    words = ("--requirepass", PASSWORD, "--databases", str(layout.DATABASES))
    with running_valkey(tmp_path_factory.mktemp("valkey"), *words) as port:
        url = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
        made = Connection("cache", "redis", "127.0.0.1", port, url, password=PASSWORD, database="0")
        eventually(lambda: answers(made))
        yield made


@pytest.fixture
def base(server: Connection) -> Iterator[Connection]:
    """The server, empty."""
    yield server
    with Link(server) as link:
        link.ask("FLUSHALL")


@pytest.fixture
def keys(base: Connection) -> Iterator[client.Redis]:
    """What an application does in the environment's own database."""
    with client.Redis.from_url(base.url) as link:
        yield link


def refused(command: object) -> tuple[int, str]:
    raise AssertionError("no program is needed")


def saved(base: Connection) -> bytes:
    target = io.BytesIO()
    dump.save(base, target, refused)
    return target.getvalue()


def restored(base: Connection, data: bytes) -> None:
    dump.restore(base, io.BytesIO(data), refused).commit()


def databases(keys: client.Redis) -> set[str]:
    """Those that hold something, but for the notes."""
    return keys.info("keyspace").keys() - {f"db{layout.NOTES}"}


def test_all_databases_come_back(base: Connection, keys: client.Redis) -> None:
    """Keys of all types, of each database, and the time that is left to them, are as they were when they were saved."""
    keys.mset({b"\x00\xff": bytes(range(256)), "large": b"x" * 6_000_000})
    keys.rpush("list", *range(1000))
    keys.xadd("stream", {"n": 1}, id="1-1")
    keys.xgroup_create("stream", "workers", id="0")
    keys.set("for a while", 1, px=50_000)
    keys.hset("session", mapping={"user": "1", "token": "x"})
    keys.execute_command("HPEXPIRE", "session", 50_000, "FIELDS", 1, "token")
    with client.Redis.from_url(own_database(base, 5).url) as other:
        other.mset({f"key {number}": number for number in range(1500)})
        before: Any = {key: keys.dump(key) for key in keys.keys("*") if key != b"session"}

        data = saved(base)
        keys.delete("list", "large")
        keys.set("another", 1)
        keys.xack("stream", "workers", "1-1")
        other.set("key 3", "changed")
        with client.Redis.from_url(own_database(base, 6).url) as third:
            third.set("a", 1)
        assert databases(keys) == {"db0", "db5", "db6"}
        restored(base, data)

        assert {key: keys.dump(key) for key in keys.keys("*") if key != b"session"} == before
        assert 45_000 < keys.pttl("for a while") <= 50_000
        assert 45_000 < keys.execute_command("HPTTL", "session", "FIELDS", 1, "token")[0] <= 50_000
        assert (other.get("key 3"), other.dbsize()) == (b"3", 1500)
    assert keys.info("keyspace").keys() == {"db0", "db5"}


def test_one_moment_while_others_write(base: Connection, keys: client.Redis) -> None:
    """Two keys that are always changed together are equal in a snapshot that is taken meanwhile."""
    keys.mset({f"filler {number}": number for number in range(3000)})
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            keys.mset({"a": number, "z": number})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        eventually(lambda: keys.exists("z"))
        data = [saved(base) for _ in range(3)]
    finally:
        stop.set()
        writer.join()
    for one in data:
        restored(base, one)
        assert keys.get("a") == keys.get("z")


def test_one_that_was_killed_holds_nobody_up(base: Connection, keys: client.Redis) -> None:
    """What a killed restore has held is let go of with its connection, and thrown away."""
    keys.set("a", 1)
    data = saved(base)
    killed = dump.restore(base, io.BytesIO(data), refused)
    killed._link.close()
    restored(base, data)
    assert databases(keys) == {"db0"}


def test_until_the_commit_nothing_changes(
    base: Connection, keys: client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restore that is ready has changed nothing; given up, or killed and recovered from, it leaves nothing behind."""
    monkeypatch.setattr(dump, "_WAIT_S", 0.1)
    keys.set("a", 1)
    data = saved(base)
    keys.set("a", 2)
    pending = dump.restore(base, io.BytesIO(data), refused)
    assert keys.get("a") == b"2"
    with pytest.raises(DataFailed, match="restore a snapshot") as caught:
        restored(base, data)
    assert "another snapshot" in str(caught.value.cause)
    pending.abort()
    assert (keys.get("a"), databases(keys)) == (b"2", {"db0"})
    killed = dump.restore(base, io.BytesIO(data), refused)
    dump.recover(base)
    assert (keys.get("a"), databases(keys)) == (b"2", {"db0"})
    with pytest.raises(DataFailed):
        killed.commit()
    restored(base, data)
    assert keys.get("a") == b"1"


@pytest.mark.provokes("SNAPSHOT_INVALID")
def test_what_is_damaged_is_refused(base: Connection, keys: client.Redis) -> None:
    """A stream that is cut, changed anywhere, or goes on after its end changes nothing, and says why."""
    keys.mset({f"key {number}": number for number in range(20)})
    keys.set("timed", 1, ex=1000)
    data = saved(base)
    keys.set("a", 1)
    broken = [data[:at] for at in range(0, len(data), 29)] + [data + b"x"]
    broken += [data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :] for at in range(0, len(data), 31)]
    for one in broken:
        with pytest.raises(SnapshotInvalid):
            restored(base, one)
    assert (keys.get("a"), databases(keys)) == (b"1", {"db0"})


def test_another_servers_format_is_named(base: Connection, keys: client.Redis) -> None:
    """A snapshot of a server whose format this one does not read says which two they are."""
    keys.set("a", 1)
    data = saved(base)
    payload = keys.dump("a")
    assert isinstance(payload, bytes)
    newer = payload[:-10] + (999).to_bytes(2, "little") + payload[-8:]
    data = data.replace(payload, newer)
    with pytest.raises(SnapshotInvalid, match="cannot read what Valkey") as caught:
        restored(base, data[:-4] + crc32(data[:-12]).to_bytes(4, "big"))
    assert "format 999" in str(caught.value.cause)


def test_a_target_that_is_full(base: Connection, keys: client.Redis) -> None:
    """What goes wrong with the file is the file's error, and nothing of the snapshot is left in the server."""
    keys.set("a", 1)
    full = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 - closed by the block below
    with full, pytest.raises(OSError, match="No space left"):
        dump.save(base, full, refused)
    assert keys.info("keyspace").keys() == {"db0"}
