"""All that a Redis holds as one stream, for named snapshots: every database that tests may use, at one moment.

The keys are first frozen into databases beside, by one script, and read from there while others go on. Back again they
are put into databases beside too, where the server checks each; one script then exchanges all databases at once.

The stream: a line that says what it is, one of JSON about the server, then for each database its number and its keys,
and at the end how many there were and a checksum of all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from struct import Struct
from typing import TYPE_CHECKING, BinaryIO
from zlib import crc32

from envctl.errors import SnapshotInvalid
from envctl.host import clock
from envctl.kinds.contents import Inside
from envctl.kinds.redis.client import ReplyError
from envctl.kinds.redis.dumps import scripts
from envctl.kinds.redis.protocol.layout import LIVE, banked
from envctl.kinds.redis.protocol.link import Link, explained, failed
from envctl.kinds.redis.resets import frozen
from envctl.kinds.redis.resets.frozen import Malformed, Record
from envctl.model import Connection

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAGIC = b"envctl redis snapshot 1\n"
_LONGEST_LINE = 4096
_KEY, _END = b"K", b"E"
_NUMBER = Struct(">H")
_TRAILER = Struct(">QI")
_BATCH_KEYS = 500
_BATCH_BYTES = 4 * 1024**2

_WAIT_S, _LOOK_AGAIN_S = 65.0, 0.05
_SAVING = "write a snapshot"
_RESTORING = "restore a snapshot"
_NOT_READ = ("payload version or checksum", "Bad data format")


def save(connection: Connection, target: BinaryIO, inside: Inside) -> None:  # noqa: ARG001 - the contract's
    """Write all that the service holds at one moment, while others go on using it.

    Args:
        connection: The service.
        target: Where it is written to.
        inside: Not needed.

    Raises:
        DataFailed: The server did not give it.
        OSError: The target cannot be written.
    """
    try:
        _save(connection, _Output(target))
    except _TargetFailed as failure:
        raise failure.error from None


def server(connection: Connection) -> str:
    """Which server it is, in words. Raises DataFailed."""
    with explained(connection, _SAVING), Link(connection) as link:
        return _server(link)


def recover(connection: Connection) -> None:
    """Let go of what a restore that was killed has held, and throw it away. Raises DataFailed."""
    with explained(connection, _RESTORING), Link(connection) as link:
        link.run(scripts.RECOVER)


def _save(connection: Connection, output: _Output) -> None:
    with explained(connection, _SAVING), Link(connection) as link, _Bank(link, connection, _SAVING) as bank:
        with link.patiently():
            saved = link.run(scripts.SAVE)
        numbers = [int(number) for number in saved[::2] if isinstance(number, int)] if isinstance(saved, list) else []
        output.write(_MAGIC + _told(link))
        count = 0
        for number in numbers:
            for record in frozen.read(link, banked(number), f"bank{number}"):
                output.write(_KEY + _NUMBER.pack(number) + frozen.encoded(record))
                count += 1
                if count % _BATCH_KEYS == 0:
                    bank.hold()
        output.write(_END + _NUMBER.pack(0))
        output.write(_TRAILER.pack(count, output.sum))


class _Output:
    """A stream with a running checksum."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self.sum = 0

    def write(self, data: bytes) -> None:
        self.sum = crc32(data, self.sum)
        try:
            self._target.write(data)
        except OSError as error:
            raise _TargetFailed(error) from error


class _TargetFailed(Exception):
    """The file, not the server."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def _told(link: Link) -> bytes:
    import json

    return json.dumps({"server": _server(link), "format": _format_of(_payload(link))}).encode() + b"\n"


def _payload(link: Link) -> bytes:
    payload = link.run(scripts.VERSION)
    return payload if isinstance(payload, bytes) else b""


def _format_of(payload: bytes) -> int:
    """The version of what DUMP gives: two bytes before the checksum."""
    return int.from_bytes(payload[-10:-8], "little")


def _server(link: Link) -> str:
    answer = link.ask("INFO", "server")
    text = answer.decode(errors="replace") if isinstance(answer, bytes) else ""
    known = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if "valkey_version" in known:
        return f"Valkey {known['valkey_version']}"
    return f"Redis {known.get('redis_version', 'of unknown version')}"


class _Bank:
    """The databases beside, held by one snapshot at a time."""

    def __init__(self, link: Link, connection: Connection, doing: str) -> None:
        self._link, self._connection, self._doing = link, connection, doing
        self.token = f"{link.name()} {os.urandom(8).hex()}".encode()

    def __enter__(self) -> _Bank:
        """Take hold of them. Who has them is waited for; one whose connection has ended has let go."""
        until_s = clock.monotonic_s() + _WAIT_S
        while not self._take() and clock.monotonic_s() < until_s:
            clock.sleep_s(_LOOK_AGAIN_S)
        self.hold()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ReplyError, OSError):
            self._link.run(scripts.CLEAR, self.token)

    def hold(self) -> None:
        """Take hold of them, or keep hold. Raises DataFailed where somebody else has them."""
        if not self._take():
            cause = "another snapshot of this server is being written or read"
            raise failed(self._connection, self._doing, cause, ["wait for that, then try again"])

    def _take(self) -> bool:
        holder = self._link.run(scripts.LOCK, self.token, b"")
        if isinstance(holder, bytes) and not self._link.is_named(holder.rpartition(b" ")[0].decode(errors="replace")):
            holder = self._link.run(scripts.LOCK, self.token, holder)
        return not isinstance(holder, bytes)


# -- back --------------------------------------------------------------------------------------------------------------


class Restore:
    """A restore that is ready: nothing was changed yet.

    Args:
        connection: The service.
        link: To the server; closed at the end.
        bank: Holds the keys.
    """

    def __init__(self, connection: Connection, link: Link, bank: _Bank) -> None:
        self._connection, self._link, self._bank = connection, link, bank

    def commit(self) -> None:
        """Put it in the place of what is there; takes a moment. Raises DataFailed."""
        try:
            with explained(self._connection, _RESTORING), self._link.patiently():
                if not self._link.run(scripts.COMMIT, self._bank.token):
                    raise failed(self._connection, _RESTORING, "FLUSHALL, or another restore, came between")
        finally:
            self._link.close()

    def abort(self) -> None:
        """Forget it. Never raises."""
        self._bank.__exit__()
        with suppress(OSError):
            self._link.close()


def restore(connection: Connection, source: BinaryIO, inside: Inside) -> Restore:  # noqa: ARG001 - the contract's
    """Read what `save` wrote, beside what is there.

    Args:
        connection: The service.
        source: Where it is read from.
        inside: Not needed.

    Raises:
        DataFailed: The server did not take it: nothing was changed.
        SnapshotInvalid: It is damaged, or of a server that this one does not understand: nothing was changed.
    """
    with explained(connection, _RESTORING):
        link = Link(connection)
        try:
            bank = _Bank(link, connection, _RESTORING)
            with bank:
                pass  # nobody else has it; what a killed one left is cleared
            bank.hold()
            try:
                _pour(link, bank, _Input(source), connection)
            except BaseException:
                bank.__exit__()
                raise
            bank.hold()
        except BaseException:
            link.close()
            raise
    return Restore(connection, link, bank)


def _pour(link: Link, bank: _Bank, source: _Input, connection: Connection) -> None:
    origin = source.origin()
    batch: list[Record] = []
    at, size = 0, 0
    for number, record in source.records():
        if batch and (number != at or len(batch) >= _BATCH_KEYS or size > _BATCH_BYTES):
            _send(link, at, batch, origin, connection)
            bank.hold()
            batch, size = [], 0
        at = number
        batch.append(record)
        size += len(record.payload)
    if batch:
        _send(link, at, batch, origin, connection)


def _send(link: Link, number: int, batch: list[Record], origin: Mapping[str, object], connection: Connection) -> None:
    words = [word for record in batch for word in (record.key, record.payload, record.ttl, record.fields)]
    try:
        link.run(scripts.POUR, number, *words)
    except ReplyError as refusal:
        if any(words in str(refusal) for words in _NOT_READ):
            raise _not_read(link, batch, origin, connection) from None
        if "BUSYKEY" in str(refusal):
            raise _invalid("a key stands in it twice") from None
        raise


def _not_read(link: Link, batch: list[Record], origin: Mapping[str, object], connection: Connection) -> SnapshotInvalid:
    """The error where the server does not understand a key."""
    mine, theirs = _format_of(_payload(link)), {_format_of(record.payload) for record in batch}
    if theirs == {mine}:
        return _invalid("the server finds a key in it damaged")
    return SnapshotInvalid(
        f"{_server(link)} cannot read what {origin.get('server', 'another server')} has written",
        cause=f"its keys are in format {max(theirs)}, and this server writes format {mine}",
        fix=[
            f"restore it where service {connection.service} has the version that wrote it, or a newer one of its line",
            "Redis 7.4 and newer, and Valkey, do not read each other's",
        ],
        subject={"service": connection.service, "format": max(theirs)},
        state="nothing was changed",
    )


class _Input:
    """A stream that was written by `save`, checked while it is read."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._sum = 0

    def origin(self) -> Mapping[str, object]:
        """What its head says of the server that wrote it. Raises SnapshotInvalid."""
        import json

        if self._take(len(_MAGIC)) != _MAGIC:
            raise _invalid("it does not begin as a snapshot of Redis does")
        line = self._source.readline(_LONGEST_LINE)
        self._sum = crc32(line, self._sum)
        try:
            told = json.loads(line)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict) or not line.endswith(b"\n"):
            raise _invalid("its head is damaged")
        return {name: value for name, value in told.items() if isinstance(value, str) and len(value) < 100}

    def records(self) -> Iterator[tuple[int, Record]]:
        """Database and key, one by one. Raises SnapshotInvalid."""
        count = 0
        while True:
            head = self._take(1 + _NUMBER.size)
            if head[:1] == _END and len(head) == 1 + _NUMBER.size:
                break
            if head[:1] != _KEY or len(head) != 1 + _NUMBER.size:
                raise _invalid("it ends too early, or is damaged")
            (number,) = _NUMBER.unpack(head[1:])
            if number >= LIVE:
                raise _invalid(f"it holds a key of database {number}, which no test may use")
            try:
                record = frozen.decoded(self._take)
            except Malformed as error:
                raise _invalid(str(error)) from None
            if record is None:
                raise _invalid("it ends too early")
            count += 1
            yield number, record
        self._check_end(count)

    def _check_end(self, count: int) -> None:
        expected = _TRAILER.pack(count, self._sum)
        if self._take(_TRAILER.size) != expected or self._take(1):
            raise _invalid("its checksum does not fit its content")

    def _take(self, size: int) -> bytes:
        data = self._source.read(size)
        self._sum = crc32(data, self._sum)
        return data


def _invalid(cause: str) -> SnapshotInvalid:
    return SnapshotInvalid("the snapshot of Redis cannot be used", cause=cause, state="nothing was changed")
