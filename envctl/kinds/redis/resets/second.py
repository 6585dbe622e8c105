"""The second copy of the baseline, which outlives a test's FLUSHALL: it stands in a library of functions.

`FLUSHALL` empties every database and leaves functions alone; the file of a server's data holds them too. The library's
code is a comment with the keys as they are dumped, packed, and one function that nobody calls. A baseline that is too
large for that has an empty comment: then it is known at least that there was one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from envctl.kinds.redis.client import ReplyError
from envctl.kinds.redis.protocol.layout import BASELINE
from envctl.kinds.redis.protocol.link import Link
from envctl.kinds.redis.resets import frozen, scripts
from envctl.kinds.redis.resets.frozen import Record

MOST_KEYS = 20_000
MOST_BYTES = 16 * 1024**2

_LIBRARY = "envctl_baseline"
_CODE = re.compile(rb"-- id=([0-9a-f]*) data=(\S*)\n")


class Copy(NamedTuple):
    """What is in the library.

    Attributes:
        id: The baseline's; "" while one is being taken.
        records: The keys, or None where they were too large.
    """

    id: str
    records: list[Record] | None


def announce(link: Link) -> bool:
    """Write down that a baseline is being taken; False where the server has no functions (before Redis 7)."""
    try:
        _load(link, "", b"")
    except ReplyError:
        return False
    return True


def keep(link: Link, baseline_id: str, count: int) -> None:
    """Keep a copy of the baseline, where it is not too large. Raises ReplyError, OSError."""
    _load(link, baseline_id, _packed(link) if count <= MOST_KEYS else b"")


def find(link: Link) -> Copy | None:
    """What is there; None where no baseline was ever taken, or somebody removed all functions."""
    try:
        answer = link.ask("FUNCTION", "LIST", "LIBRARYNAME", _LIBRARY, "WITHCODE")
    except ReplyError:
        return None
    code = next((part for part in _flat(answer) if _CODE.search(part)), None)
    matched = _CODE.search(code) if code else None
    if matched is None:
        return None
    return Copy(matched[1].decode(), _unpacked(matched[2]))


def _flat(answer: object) -> list[bytes]:
    if isinstance(answer, list):
        return [part for item in answer for part in _flat(item)]
    return [answer] if isinstance(answer, bytes) else []


def _load(link: Link, baseline_id: str, data: bytes) -> None:
    head = f"#!lua name={_LIBRARY}\n-- id={baseline_id} data=".encode()
    function = f"\nredis.register_function('{_LIBRARY}', function() return 0 end)\n".encode()
    link.ask("FUNCTION", "LOAD", "REPLACE", head + data + function)


def _packed(link: Link) -> bytes:
    from base64 import b64encode
    from zlib import compress

    parts, size = [], 0
    for record in frozen.read(link, BASELINE, "baseline"):
        parts.append(frozen.encoded(record))
        size += len(parts[-1])
        if size > MOST_BYTES:
            return b""
    return b64encode(compress(b"".join(parts), 1)) or b""


def _unpacked(data: bytes) -> list[Record] | None:
    if not data:
        return None
    from base64 import b64decode
    from io import BytesIO
    from zlib import decompress

    stream = BytesIO(decompress(b64decode(data)))
    records = []
    while (record := frozen.decoded(stream.read)) is not None:
        records.append(record)
    return records


def heal(link: Link, copy: Copy) -> None:
    """Put the baseline back into its database. Raises ReplyError, OSError."""
    words: list[bytes] = []
    for record in copy.records or []:
        words += [record.key, record.payload, record.ttl, record.fields]
    link.run(scripts.HEAL, copy.id, *words)
