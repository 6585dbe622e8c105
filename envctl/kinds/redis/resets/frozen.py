"""Keys that were frozen into a database, read out of it one by one, and the form they have in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct
from typing import NamedTuple

from envctl.kinds.redis.client import Reply
from envctl.kinds.redis.protocol.link import Link
from envctl.kinds.redis.resets import scripts

MOST_BYTES = 512 * 1024**2
"""The longest string that a server takes or gives."""

_BATCH_BYTES = 4 * 1024**2
_HEAD = Struct(">IIII")  # how long key, payload, TTL and fields are


class Record(NamedTuple):
    """A key.

    Attributes:
        key: Its name.
        payload: What DUMP says of it.
        ttl: Milliseconds it lives, as a decimal number; empty for ever.
        fields: What is noted of its fields' TTLs, as the server's scripts pack it; empty for nothing.
    """

    key: bytes
    payload: bytes
    ttl: bytes = b""
    fields: bytes = b""


class Malformed(ValueError):
    """What was read is no record, or ends in the middle of one."""


def read(link: Link, number: int, name: str) -> Iterator[Record]:
    """The keys of a frozen database.

    Args:
        link: The server.
        number: The database.
        name: What its notes are called.

    Raises:
        ReplyError: The server refuses something.
        OSError: The connection ended.
    """
    cursor = b"0"
    while True:
        cursor, names = _pair(link.run(scripts.NAMES, number, cursor))
        while names:
            contents = link.run(scripts.CONTENTS, number, name, _BATCH_BYTES, *names)
            found = contents if isinstance(contents, list) else []
            for key, content in zip(names, found, strict=False):
                if (record := _record(key, content)) is not None:
                    yield record
            names = names[len(found) :]
            if not found:
                raise ConnectionError("the server gave no answer that makes sense")
        if cursor == b"0":
            return


def _pair(answer: Reply) -> tuple[bytes, list[bytes]]:
    if isinstance(answer, list) and len(answer) == 2:
        cursor, names = answer
        if isinstance(cursor, bytes) and isinstance(names, list):
            return cursor, [name for name in names if isinstance(name, bytes)]
    raise ConnectionError("the server gave no answer that makes sense")


def _record(key: bytes, content: Reply) -> Record | None:
    payload, ttl, fields = (_bytes(part) for part in content) if isinstance(content, list) else (b"", b"", b"")
    return Record(key, payload, ttl, fields) if payload else None


def _bytes(part: Reply) -> bytes:
    return part if isinstance(part, bytes) else b""


def encoded(record: Record) -> bytes:
    """A record as bytes."""
    return _HEAD.pack(*map(len, record)) + b"".join(record)


def decoded(take: Callable[[int], bytes]) -> Record | None:
    """The next record of a stream; None at its end.

    Args:
        take: Gives the next bytes, fewer only at the end.

    Raises:
        Malformed: It is none.
    """
    head = take(_HEAD.size)
    if not head:
        return None
    if len(head) != _HEAD.size:
        raise Malformed("it ends in the middle of a key")
    lengths: tuple[int, ...] = _HEAD.unpack(head)
    if max(lengths) > MOST_BYTES:
        raise Malformed("a key in it is larger than any server takes")
    parts = [take(length) for length in lengths]
    if any(len(part) != length for part, length in zip(parts, lengths, strict=True)):
        raise Malformed("it ends in the middle of a key")
    record = Record(*parts)
    if record.ttl and not (record.ttl.isdigit() and len(record.ttl) < 16):
        raise Malformed("a key in it has a TTL that is no number")
    return record
