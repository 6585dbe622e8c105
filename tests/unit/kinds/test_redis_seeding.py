"""Files of keys put into a real server: all types, at one moment or not at all, with the line of every mistake."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from local_server import closed_port
from real_servers import eventually, running_valkey
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection

from envctl.errors import SeedFailed
from envctl.kinds.redis.seeding import SUFFIXES, apply
from envctl.model import Connection

Seed = Callable[[str, "str | bytes"], None]

ALL = """
# every type
text: "it's"
number: 1.50
yes: true
"user:1": {name: Anna, age: 30, photo: {base64: AP8=}}
queue: &queue [a, b, "007"]
again: *queue
tags: {type: set, value: [x, y, x]}
ranking: {type: zset, value: {anna: 3.5, bert: -.inf, "": 1e3}}
pairs: {type: zset, value: [[7, 2], [anna, "1"]], ttl: 90}
events: {type: stream, value: [{id: 1-1, fields: {a: 1, b: 2}}, {id: 5, fields: {c: 3}}, {fields: free, id: text}]}
session: {value: {user: "1"}, ttl: 30m}
word: {type: string, value: {base64: AP8=}, ttl: 1h30m}
fields: {type: hash, value: {type: set, value: "1"}}
plain: {type: admin, value: "1"}
nothing: []
ü "k": {base64: ""}
"""


@pytest.fixture
def server(worker_redis: Connection) -> Iterator[Redis]:
    """The database, empty."""
    with Redis.from_url(worker_redis.url) as link:
        link.flushdb()
        yield link


@pytest.fixture
def seed(server: Redis, worker_redis: Connection, tmp_path: Path) -> Seed:
    """Puts a file of this name and content into it."""

    def put(name: str, content: str | bytes) -> None:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        assert path.suffix in SUFFIXES
        apply(worker_redis, path, f"fixtures/{name}")

    return put


def test_every_type(seed: Seed, server: Redis) -> None:
    """Each key holds what the file says, and has an end where it says so; no other key is touched."""
    server.set("other", "kept")
    server.set("queue", "of another type")
    server.rpush("text", "of another type")
    seed("all.yaml", ALL)
    assert [server.get(key) for key in ("text", "number", "yes", "word", 'ü "k"')] == [
        *(b"it's", b"1.50", b"true", b"\0\xff", b"")
    ]
    assert server.hgetall("user:1") == {b"name": b"Anna", b"age": b"30", b"photo": b"\0\xff"}
    assert server.lrange("queue", 0, -1) == server.lrange("again", 0, -1) == [b"a", b"b", b"007"]
    assert server.smembers("tags") == {b"x", b"y"}
    assert server.zrange("ranking", 0, -1, withscores=True) == [(b"bert", float("-inf")), (b"anna", 3.5), (b"", 1000)]
    assert server.zrange("pairs", 0, -1, withscores=True) == [(b"anna", 1), (b"7", 2)]
    (one, two, three) = server.xrange("events")
    assert (one, two) == ((b"1-1", {b"a": b"1", b"b": b"2"}), (b"5-0", {b"c": b"3"}))
    assert three[1] == {b"fields": b"free", b"id": b"text"}
    assert server.hgetall("fields") == {b"type": b"set", b"value": b"1"}
    assert server.hgetall("plain") == {b"type": b"admin", b"value": b"1"}
    ends = {"pairs": 90, "session": 1800, "word": 5400}
    assert all(limit - 5 < server.ttl(key) <= limit for key, limit in ends.items())
    assert (server.get("other"), server.exists("nothing"), server.ttl("text")) == (b"kept", 0, -1)


def test_json_is_the_same(seed: Seed, server: Redis) -> None:
    """What YAML says, JSON says too; numbers stay as they are written. A second time changes nothing."""
    for _ in range(2):
        seed(
            "keys.json",
            '\ufeff{"a": 1.50, "b": [1, true, "x"],\n "c": {"value": ["m"], "ttl": "1h"}, "d": {"f": 1e3}}\n',
        )
    assert (server.get("a"), server.lrange("b", 0, -1)) == (b"1.50", [b"1", b"true", b"x"])
    assert (server.lrange("c", 0, -1), server.hgetall("d"), server.dbsize()) == ([b"m"], {b"f": b"1e3"}, 4)


def test_many_keys_and_long_ones(seed: Seed, server: Redis) -> None:
    """Thousands of keys are set at one moment, and one key may have more elements than one command takes."""
    seed("many.json", json.dumps({f"k{number}": [number] for number in range(20_000)} | {"long": [0] * 5000}))
    assert (server.dbsize(), server.llen("long")) == (20_001, 5000)


@pytest.mark.provokes("SEED_FAILED")
@pytest.mark.parametrize(
    ("name", "content", "line", "words"),
    [
        ("a.yaml", "a: 1\nb:\n  c: {d: 1}\n", 2, 'key "b": a mapping stands where'),
        ("a.yaml", "a: 1\nb: [1, 2\nc: 3\n", 3, "expected"),
        ("a.yaml", "a: 1\n\na: 2\n", 3, "twice"),
        ("a.yaml", "- a\n", 1, "no mapping"),
        ("a.yaml", "a: 1\nb: null\n", 2, "null"),
        ("a.yaml", "a: {value: 1, ttl: soon}\n", 1, "no duration"),
        ("a.yaml", "a: {value: 1, ttl: 0s}\n", 1, "no time"),
        ("a.yaml", "a: {type: set, value: [1], tll: 3s}\n", 1, "tll"),
        ("a.yaml", "a: {type: zset, value: {m: many}}\n", 1, "no number"),
        ("a.yaml", "a: {type: stream, value: [{id: 2-1, fields: {a: 1}}, {id: 1-1, fields: {a: 1}}]}\n", 1, "1-1"),
        ("a.yaml", "a: 1\nb: {base64: '?'}\n", 2, "base64"),
        ("a.yaml", b"a: 1\nb: \xe9\n", 2, "UTF-8"),
        ("a.json", '{"a": 1,\n"b": {"c":\n{"d": 1}}}', 2, 'key "b"'),
        ("a.json", '{"a": 1,\n"b": 2,\n"a": 3}', 3, "twice"),
        ("a.json", '{"a": {"f": 1,\n"f": 2}}', 1, "twice"),
        ("a.json", '{"a": 1,\n"b" 2}', 2, "':' delimiter"),
        ("a.json", '{"a": 1,\n"b": [}', 2, "no JSON"),
        ("a.json", '{"a": 1}\n{}', 2, "Extra data"),
        ("a.json", "[1]", 1, "no mapping"),
    ],
)
def test_a_mistake_is_found_before_anything_is_set(
    seed: Seed, server: Redis, name: str, content: str | bytes, line: int, words: str
) -> None:
    """The error has file:line, the key and what is wrong; nothing of the file is in the server."""
    with pytest.raises(SeedFailed) as caught:
        seed(name, content)
    assert caught.value.message == f"seed fixtures/{name}:{line} failed"
    assert words in str(caught.value.cause)
    assert (caught.value.exit, caught.value.subject["rolled_back"], server.dbsize()) == (86, True, 0)


def test_what_the_server_refuses_is_refused_whole(tmp_path: Path) -> None:
    """A server that is full takes nothing of a file, and its words are shown with the key."""
    (tmp_path / "a.yaml").write_text("a: []\nb: 2\n")
    with running_valkey(tmp_path, "--maxmemory", "1") as port:
        where = Connection("redis", "redis", "127.0.0.1", port)
        eventually(lambda: _answers(port))
        with pytest.raises(SeedFailed) as caught:
            apply(where, tmp_path / "a.yaml", "a.yaml")
    assert "OOM" in str(caught.value.cause)
    assert (caught.value.message, caught.value.subject["rolled_back"]) == ("seed a.yaml:2 failed", True)


def _answers(port: int) -> bool:
    try:
        return bool(Redis(port=port).ping())
    except NoConnection:
        return False


def test_no_server_and_no_file(worker_redis: Connection, tmp_path: Path) -> None:
    """Both are told as what they are."""
    (tmp_path / "a.yaml").write_text("a: 1")
    for where, name, words in (
        (replace(worker_redis, port=closed_port()), "a.yaml", "refused"),
        (worker_redis, "b.yaml", "cannot be read"),
    ):
        with pytest.raises(SeedFailed, match=name) as caught:
            apply(where, tmp_path / name, name)
        assert words in str(caught.value.cause)
