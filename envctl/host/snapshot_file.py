"""A named snapshot as one file: a tar archive of nothing but plain members.

    SERVICE.gz       what a kind's dump.py wrote of the service
    …
    manifest.json    last: what it is, and of each service kind, sizes and SHA-256; so a file without it is not whole

It may come from anywhere (`envctl snapshot import`), so nothing in it is believed: it is never unpacked into a folder,
a member's name is compared and never used as a path, and what is unzipped is counted while it is read.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from envctl.errors import SnapshotInvalid

FORMAT = 1
MANIFEST = "manifest.json"

_SUFFIX = ".gz"
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_BLOCK = tarfile.BLOCKSIZE
_PIECE = 1 << 18
_MOST_MEMBERS = 200
_LONGEST_MANIFEST = 1024**2
_LEVEL = 1  # higher ones save a tenth, and take three times as long
_GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Part:
    """One service in a snapshot.

    Attributes:
        service: Its name.
        kind: Its kind.
        version: Of its server, as far as known, or "".
        database: The database's name, or "".
        size: Bytes of what was dumped.
        packed: Bytes of it in the file.
        sha256: Of what was dumped, in hex.
    """

    service: str
    kind: str
    version: str
    database: str
    size: int
    packed: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot says of itself.

    Attributes:
        name: As it was called when it was saved.
        project: Of which project,
        branch: on which branch.
        created: When, ISO 8601, UTC.
        envctl: The version that wrote it.
        parts: What it holds.
    """

    name: str
    project: str
    branch: str
    created: str
    envctl: str
    parts: tuple[Part, ...]


# -- writing -----------------------------------------------------------------------------------------------------------


class Writer:
    """Writes a snapshot.

    Args:
        file: Where to; it can seek, and is empty.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._parts: list[Part] = []

    @contextmanager
    def part(self, service: str, kind: str, version: str, database: str) -> Iterator[BinaryIO]:
        """What is written into this is the content of a service."""
        start = self._file.tell()
        self._file.write(_header(service + _SUFFIX, 0))
        packer = _Packer(self._file)
        yield packer  # type: ignore[misc]  # all that a dump does with it is to write
        packer.finish()
        packed = self._file.tell() - start - _BLOCK
        self._pad(packed)
        end = self._file.tell()
        self._file.seek(start)
        self._file.write(_header(service + _SUFFIX, packed))
        self._file.seek(end)
        digest = packer.sha.hexdigest()
        self._parts.append(Part(service, kind, version, database, packer.size, packed, digest))

    def finish(self, name: str, project: str, branch: str, created: str, version: str) -> Manifest:
        """Write what it is; from then on it is whole."""
        manifest = Manifest(name, project, branch, created, version, tuple(self._parts))
        text = json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1).encode() + b"\n"
        self._file.write(_header(MANIFEST, len(text)) + text)
        self._pad(len(text))
        self._file.write(bytes(2 * _BLOCK))
        return manifest

    def _pad(self, size: int) -> None:
        self._file.write(bytes(-size % _BLOCK))


class _Packer:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._zip = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self.sha = hashlib.sha256()
        self.size = 0

    def write(self, piece: bytes) -> int:
        self.sha.update(piece)
        self.size += len(piece)
        self._file.write(self._zip.compress(piece))
        return len(piece)

    def finish(self) -> None:
        self._file.write(self._zip.flush())


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member.tobuf(tarfile.GNU_FORMAT)


# -- reading -----------------------------------------------------------------------------------------------------------


class Reader:
    """Reads a snapshot.

    Args:
        file: It; can seek.
        max_bytes: How much all that it holds may be, unpacked.

    Attributes:
        manifest: What it says of itself.

    Raises:
        SnapshotInvalid: It is no snapshot, or not whole, or says that it is larger.
    """

    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        self._file = file
        self._places = _places(file)
        self.manifest = _manifest(self._content(MANIFEST))
        self._check(max_bytes)

    def open(self, service: str) -> Content:
        """What it holds of a service; `finish` proves it. Raises KeyError where it holds nothing of it."""
        part = next((part for part in self.manifest.parts if part.service == service), None)
        if part is None:
            raise KeyError(service)
        return Content(self._file, self._places[service + _SUFFIX][0], part)

    def prove(self) -> None:
        """Read all of it, so that every byte is known to be what it should be. Raises SnapshotInvalid."""
        for part in self.manifest.parts:
            self.open(part.service).finish()

    def _content(self, name: str) -> bytes:
        offset, size = self._places.get(name, (0, 0))
        if not 0 < size <= _LONGEST_MANIFEST:
            raise _invalid(f"it has no {MANIFEST}, so it is no snapshot of envctl, or not all of one")
        self._file.seek(offset)
        return self._file.read(size)

    def _check(self, max_bytes: int) -> None:
        parts = self.manifest.parts
        wanted = {part.service + _SUFFIX: part.packed for part in parts}
        found = {name: size for name, (_, size) in self._places.items() if name != MANIFEST}
        if found != wanted or len(wanted) != len(parts):
            raise _invalid(f"it holds other things than its {MANIFEST} says")
        total = sum(part.size for part in parts)
        if total > max_bytes:
            raise _invalid(
                f"it says that it holds {total} bytes, and {max_bytes} are allowed",
                fix=[f"--max-size {-(-total // 1024**3)}g, if you trust it"],
            )


class Content(io.BufferedReader):
    """What a snapshot holds of one service, unpacked and counted while it is read.

    Reading raises SnapshotInvalid as soon as it is known not to be what the manifest says.
    """

    def __init__(self, file: BinaryIO, offset: int, part: Part) -> None:
        super().__init__(_Unpacked(file, offset, part), _PIECE)

    def finish(self) -> None:
        """Read what nobody has read, so that all of it is proven."""
        while self.read(_PIECE):
            pass


class _Unpacked(io.RawIOBase):
    def __init__(self, file: BinaryIO, offset: int, part: Part) -> None:
        self._file, self._at, self._part = file, offset, part
        self._left = part.packed
        self._zip = zlib.decompressobj(_GZIP)
        self._sha = hashlib.sha256()
        self._size = 0
        self._input = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _next(self, most: int) -> bytes:
        while not self._zip.eof:
            if not self._input:
                self._input = self._packed()
            try:
                data = self._zip.decompress(self._input, most)
            except zlib.error:
                raise self._wrong("it is damaged") from None
            self._input = self._zip.unconsumed_tail
            if data:
                self._size += len(data)
                if self._size > self._part.size:
                    raise self._wrong(f"it holds more than the {self._part.size} bytes that it says")
                self._sha.update(data)
                return data
            if not self._input and not self._left and not self._zip.eof:
                raise self._wrong("it ends too early")
        self._check_end()
        return b""

    def _packed(self) -> bytes:
        self._file.seek(self._at)
        data = self._file.read(min(_PIECE, self._left))
        self._at, self._left = self._at + len(data), self._left - len(data)
        return data

    def _check_end(self) -> None:
        if self._left or self._zip.unused_data or self._size != self._part.size:
            raise self._wrong("it has not the size that it says")
        if self._sha.hexdigest() != self._part.sha256:
            raise self._wrong("its checksum is another one")

    def _wrong(self, cause: str) -> SnapshotInvalid:
        return _invalid(f"{cause} (service {self._part.service})")


def _places(file: BinaryIO) -> Mapping[str, tuple[int, int]]:
    """Name → offset and size of each member. Raises SnapshotInvalid for anything but plain files with flat names."""
    end = file.seek(0, io.SEEK_END)
    found: dict[str, tuple[int, int]] = {}
    at = 0
    while MANIFEST not in found:
        file.seek(at)
        try:
            member = tarfile.TarInfo.frombuf(file.read(_BLOCK), "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError, ValueError):
            raise _invalid("it is no snapshot of envctl, or not all of one") from None
        if member.type != tarfile.REGTYPE or member.linkname:
            raise _invalid("it holds something else than plain files")
        if member.name != MANIFEST and not _is_part(member.name):
            raise _invalid("it holds a file that no snapshot has", evidence=[member.name])
        if member.name in found or len(found) >= _MOST_MEMBERS:
            raise _invalid("it holds a file twice, or too many")
        if not 0 <= member.size <= end - at - _BLOCK:
            raise _invalid("it ends too early")
        found[member.name] = (at + _BLOCK, member.size)
        at += _BLOCK + member.size + -member.size % _BLOCK
    if end - at > tarfile.RECORDSIZE:
        raise _invalid("something follows its end")
    return found


def _is_part(name: str) -> bool:
    return name.endswith(_SUFFIX) and _SERVICE.fullmatch(name.removesuffix(_SUFFIX)) is not None


def _manifest(text: bytes) -> Manifest:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or not isinstance(told.get("format"), int):
        raise _invalid(f"its {MANIFEST} is damaged")
    if told["format"] > FORMAT:
        raise _invalid(f"it has format {told['format']}, and this envctl knows {FORMAT}", fix=["upgrade envctl"])
    try:
        parts = tuple(_part(one) for one in told["parts"])
        words = {key: _word(told[key]) for key in ("name", "project", "branch", "created", "envctl")}
        return Manifest(**words, parts=parts)
    except (KeyError, TypeError, ValueError):
        raise _invalid(f"its {MANIFEST} does not say what it should") from None


def _part(told: Mapping[str, Any]) -> Part:
    words = {key: _word(told[key]) for key in ("service", "kind", "version", "database", "sha256")}
    return Part(**words, size=_number(told["size"]), packed=_number(told["packed"]))


def _word(value: object) -> str:
    if not isinstance(value, str) or len(value) > 1000:
        raise ValueError
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError
    return value


def _invalid(cause: str, **more: Any) -> SnapshotInvalid:
    return SnapshotInvalid("the file is no snapshot that can be used", cause=cause, state="nothing was changed", **more)
