"""A database of Redis put back to its baseline, by how many keys that has, beside writing them again."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice

import redis

from benchmarks.figures import Row, Series, interleave
from benchmarks.options import Options
from benchmarks.process import BenchmarkError
from benchmarks.reach import seconds, servers
from benchmarks.sandbox import Sandbox
from benchmarks.schema import nobody
from envctl.kinds.redis import baseline
from envctl.kinds.redis.baseline import Resetter
from envctl.kinds.redis.data import own_database
from envctl.model import Connection

_FAMILY = "redisreset"
_PIPELINE, _RAW = "FLUSHDB, the same keys by redis-py", "FLUSHDB, the same keys as bytes"
_FLUSH, _FLUSHING = "FLUSHDB alone", (1, b"*1\r\n$7\r\nFLUSHDB\r\n")
_AT_ONCE = 10_000
_TOUCHED = 10
_NOTES = {
    _PIPELINE: f"by redis-py: in pipelines of {_AT_ONCE:,} commands",
    _RAW: "as bytes: the commands were encoded ahead, and are sent as redis-cli --pipe does",
    _FLUSH: "FLUSHDB alone: it brings no key back",
}
Pipe = Sequence[tuple[int, bytes]]
"""Some thousand commands at a time: how many, and as they are sent."""


def measure(place: Sandbox, options: Options) -> list[Row]:
    """One server; ours in its first database, the peers in others."""
    with servers(place, _FAMILY, "{redis: {}}") as (_, reach):
        return [row for number in options.keys for row in _rows(reach["redis"], number, options)]


def _rows(server: Connection, number: int, options: Options) -> Iterator[Row]:
    found = _measured(server, number, options)
    what = f"reset of Redis, {number:,} keys, {_TOUCHED * 2} touched"
    for peer, note in _NOTES.items():
        row = Row(_FAMILY, what, "ms", replace(found["reset"], label="envctl"), found[peer])
        yield replace(row, note=note if number == options.keys[0] else "").in_ms()


def _measured(server: Connection, number: int, options: Options) -> Mapping[str, Series]:
    pipe, where = [*_encoded(_commands(number))], [server, own_database(server, 1), own_database(server, 2)]
    with ExitStack() as held:
        ours, again, flushed = (held.enter_context(_link(one)) for one in where)
        writers = [held.enter_context(_Writer(one)) for one in where]
        for writer in writers:
            writer.send(pipe)
        baseline.take(server, "auto", nobody)
        resetter = held.enter_context(closing(Resetter(server)))
        commands = {
            "reset": seconds(resetter.reset, partial(_touch, ours)),
            _PIPELINE: seconds(partial(_pipelined, again, number), partial(_touch, again)),
            _RAW: seconds(partial(writers[1].send, [_FLUSHING, *pipe]), partial(_touch, again)),
            _FLUSH: seconds(flushed.flushdb, partial(writers[2].send, pipe)),
        }
        commands["reset"]()
        _check(ours, number)
        return interleave(_rounds(number, options), commands)


@contextmanager
def _link(where: Connection) -> Iterator[redis.Redis]:
    """A client; the database is empty afterwards."""
    with redis.Redis.from_url(where.url) as link:
        yield link
        link.flushdb()


def _rounds(number: int, options: Options) -> int:
    """Fewer of what takes seconds."""
    return options.quick_runs if number < _AT_ONCE else options.runs if number <= _AT_ONCE * 10 else options.slow_runs


def _commands(number: int) -> Iterator[tuple[str | int, ...]]:
    """Strings, each tenth a hash; each hundredth only lives for a day."""
    for one in range(number):
        if one % 10 == 1:
            yield "HSET", f"user:{one}", "name", f"name of {one}", "mail", f"{one}@example.org", "visits", one
        elif one % 100 == 2:
            yield "SET", f"session:{one}", f"token-{one}", "EX", 86_400
        else:
            yield "SET", f"item:{one}", f"value of item {one}"


def _encoded(commands: Iterator[tuple[str | int, ...]]) -> Iterator[tuple[int, bytes]]:
    some: list[bytes] = []
    for words in commands:
        parts = [str(word).encode() for word in words]
        some.append(b"".join((b"*%d\r\n" % len(parts), *(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts))))
        if len(some) == _AT_ONCE:
            yield len(some), b"".join(some)
            some = []
    yield len(some), b"".join(some)


class _Writer:
    """A plain connection, which no client library slows down; nothing but the number of answers is looked at."""

    def __init__(self, where: Connection) -> None:
        self._socket = socket.create_connection((where.host, where.port or 0))
        log_in = [("AUTH", where.password or ""), ("SELECT", where.database or "0")]
        self.send([*_encoded(iter(log_in))])

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, pipe: Pipe) -> None:
        for count, commands in pipe:
            self._socket.sendall(commands)
            while count > 0:
                answers = self._socket.recv(1 << 20)
                if not answers or b"-" in answers:
                    raise BenchmarkError(f"Redis says {answers[:200]!r}")
                count -= answers.count(b"\n")


def _pipelined(link: redis.Redis, number: int) -> None:
    link.flushdb()
    commands = _commands(number)
    while some := [*islice(commands, _AT_ONCE)]:
        with link.pipeline(transaction=False) as pipe:
            for words in some:
                pipe.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py has no types for it
            pipe.execute()


def _touch(link: redis.Redis) -> None:
    """What a test does: some keys are written, some removed."""
    with link.pipeline(transaction=False) as pipe:
        for one in range(_TOUCHED):
            pipe.set(f"new:{one}", "new")
            pipe.delete(f"item:{one}")
        pipe.execute()


def _check(link: redis.Redis, number: int) -> None:
    """What is measured is a reset."""
    if link.dbsize() != number or link.exists("new:1"):
        raise BenchmarkError(f"a reset has left {link.dbsize()} keys instead of {number}")
