"""Named snapshots as files: written whole or not at all, and nothing of a file from elsewhere is believed."""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
import tarfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from envctl.errors import CannotWrite, SnapshotInvalid, SnapshotNotFound, UsageError, WouldOverwrite
from envctl.host.snapshot_file import Reader, Writer
from envctl.host.snapshots import MAX_BYTES, Snapshots, everywhere

POSTGRES, REDIS = b"postgres " * 50_000, b"redis"


@pytest.fixture
def store(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path / "state", "Müller & Söhne")


def write(file: Any) -> None:
    writer = Writer(file)
    for service, content in (("postgres", POSTGRES), ("redis", REDIS)):
        with writer.part(service, service, "18", "app") as part:
            part.write(content[:7])
            part.write(content[7:])
    writer.finish("demo", "shop", "main", "2026-11-24T18:00:00Z", "1.0")


def saved(store: Snapshots, name: str = "demo", *, replace: bool = False) -> Path:
    with store.writing(name, replace=replace) as file:
        write(file)
    return store.find(name).path


def whole() -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def test_what_was_saved_is_read_back(store: Snapshots) -> None:
    """Contents and manifest come back; the file is its owner's alone, and any tar program can look into it."""
    path = saved(store)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with store.reading("demo") as reader:
        assert [part.service for part in reader.manifest.parts] == ["postgres", "redis"]
        assert (reader.open("postgres").read(), reader.open("redis").read()) == (POSTGRES, REDIS)
        line = reader.open("postgres").readline(9)
    assert line == b"postgres "
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["postgres.gz", "redis.gz", "manifest.json"]
    assert [one.name for one in store.all()] == [one.name for one in everywhere(path.parents[2])] == ["demo"]


def test_what_a_killed_writer_has_left(store: Snapshots) -> None:
    """A file that nobody will finish goes when a snapshot is removed."""
    path = saved(store)
    left = path.with_name(".other.envctl.1-1-00000000.tmp")  # process 1 began at no such time
    left.touch()
    os.utime(left, (1.0, 1.0))
    store.remove("demo")
    assert list(path.parent.iterdir()) == []


def test_a_name_is_not_taken_from_another(store: Snapshots) -> None:
    """A snapshot stays unless it is said that it may be replaced; then it is replaced whole."""
    path = saved(store)
    first = path.read_bytes()
    with pytest.raises(WouldOverwrite):
        saved(store)
    with pytest.raises(TypeError), store.writing("demo", replace=True) as file:
        file.write("half")  # type: ignore[arg-type]  # a test gives what it likes
    assert path.read_bytes() == first
    saved(store, replace=True)
    assert [one.name for one in path.parent.iterdir()] == ["demo.envctl"]


def test_a_full_disk(store: Snapshots) -> None:
    """What could not be written leaves nothing, and says why."""
    with pytest.raises(CannotWrite, match="demo"), store.writing("demo", replace=False):
        raise OSError(28, "No space left on device")
    assert list(store.folder.iterdir()) == []


@pytest.mark.provokes("NO_SNAPSHOT")
def test_one_that_is_not_there(store: Snapshots) -> None:
    """The error says which one was probably meant."""
    saved(store, "before-demo")
    with pytest.raises(SnapshotNotFound) as missing:
        store.remove("before-dmeo")
    assert "before-demo" in missing.value.fix[0]
    store.remove("before-demo")
    assert store.all() == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "-x", "a b", "x" * 65, "a\n", "ü"])
def test_names(store: Snapshots, name: str) -> None:
    """A name can never lead out of the folder."""
    with pytest.raises(UsageError):
        store.find(name)


def test_projects_with_similar_names(tmp_path: Path) -> None:
    """Projects whose names differ only in what a folder's name cannot have do not share their snapshots."""
    projects = ["shop", "Shop", "shop!", "...", "店", "店店", "x" * 300, "x" * 299]
    folders = {Snapshots(tmp_path, project).folder for project in projects}
    assert len(folders) == len(projects)
    assert all(folder.parent == tmp_path / "snapshots" for folder in folders)


def test_export_and_import(store: Snapshots, tmp_path: Path) -> None:
    """A file goes out and comes in again, under its own name or another, and never over another file unasked."""
    saved(store)
    file = tmp_path / "demo.envctl"
    store.export("demo", file, replace=False)
    with pytest.raises(WouldOverwrite):
        store.export("demo", file, replace=False)
    store.export("demo", file, replace=True)
    with pytest.raises(WouldOverwrite):
        store.take_in(file, None, max_bytes=MAX_BYTES, replace=False)
    assert store.take_in(file, "other", max_bytes=MAX_BYTES, replace=False).manifest == store.find("demo").manifest
    other = Snapshots(tmp_path / "state", "another")
    assert other.take_in(file, None, max_bytes=MAX_BYTES, replace=False).name == "demo"


# -- files from elsewhere ----------------------------------------------------------------------------------------------


def archive(*members: tuple[str, bytes], type_: bytes = tarfile.REGTYPE, manifest: Any = None) -> bytes:
    """A tar of these members, with a manifest that fits them unless another is given."""
    parts = [_told(name.removesuffix(".gz"), data) for name, data in members]
    text = json.dumps(_manifest(parts) if manifest is None else manifest).encode()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as made:
        for name, data in (*members, ("manifest.json", text)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            if name != "manifest.json":
                member.type = type_
            made.addfile(member, io.BytesIO(data))
    return file.getvalue()


def _manifest(parts: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    words = {"name": "x", "project": "shop", "branch": "main", "created": "2026-11-24T18:00:00Z", "envctl": "1"}
    return {"format": 1, **words, "parts": parts, **changes}


def _told(service: str, content: bytes, **changes: Any) -> dict[str, Any]:
    data = b"one"
    if content in (BOMB, TWO_STREAMS):
        data = gzip.decompress(content)
    known = {"service": service, "kind": "redis", "version": "", "database": "", "size": len(data)}
    return {**known, "packed": len(content), "sha256": sha256(data).hexdigest(), **changes}


ONE = gzip.compress(b"one")
BOMB = gzip.compress(bytes(50_000_000))
TWO_STREAMS = ONE + gzip.compress(b"two")
BAD: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"hello " * 1000,
    "zeros": lambda: bytes(20_000),
    "cut in a part": lambda: whole()[:700],
    "cut before the manifest": lambda: whole()[: whole().index(b"manifest.json")],
    "cut in the manifest": lambda: whole()[: whole().index(b"manifest.json") + 600],
    "a byte is another": lambda: whole()[:1000] + bytes([whole()[1000] ^ 1]) + whole()[1001:],
    "something follows": lambda: whole() + bytes(100_000),
    "path upwards": lambda: archive(("../redis.gz", ONE)),
    "absolute path": lambda: archive(("/tmp/redis.gz", ONE)),
    "folder in a path": lambda: archive(("a/redis.gz", ONE)),
    "hidden": lambda: archive((".redis.gz", ONE)),
    "another file": lambda: archive(("redis.sh", ONE)),
    "twice": lambda: archive(("redis.gz", ONE), ("redis.gz", ONE)),
    "too many": lambda: archive(*((f"s{i}.gz", ONE) for i in range(300))),
    "symbolic link": lambda: archive(("redis.gz", b""), type_=tarfile.SYMTYPE),
    "hard link": lambda: archive(("redis.gz", b""), type_=tarfile.LNKTYPE),
    "device": lambda: archive(("redis.gz", b""), type_=tarfile.BLKTYPE),
    "a long name that is read first": lambda: archive(("x" * 5000 + ".gz", ONE)),
    "no manifest": lambda: archive(("redis.gz", ONE)).replace(b"manifest.json", b"manifest.jsno"),
    "no JSON": lambda: archive(("redis.gz", ONE), manifest="x"),
    "deep JSON": lambda: archive(("redis.gz", ONE), manifest=json.loads("[" * 900 + "]" * 900)),
    "newer": lambda: archive(("redis.gz", ONE), manifest=_manifest([_told("redis", ONE)], format=2)),
    "no parts": lambda: archive(("redis.gz", ONE), manifest=_manifest([])),
    "the same part twice": lambda: archive(("redis.gz", ONE), manifest=_manifest([_told("redis", ONE)] * 2)),
    "parts of other types": lambda: archive(("redis.gz", ONE), manifest=_manifest([["redis"]])),
    "sizes of other types": lambda: archive(("redis.gz", ONE), manifest=_manifest([_told("redis", ONE, size="3")])),
    "too small a size": lambda: archive(("redis.gz", ONE), manifest=_manifest([_told("redis", ONE, size=2)])),
    "too large a size": lambda: archive(("redis.gz", ONE), manifest=_manifest([_told("redis", ONE, size=4)])),
    "another packed size": lambda: archive(("redis.gz", ONE), manifest=_manifest([_told("redis", ONE, packed=1)])),
    "another checksum": lambda: archive(("redis.gz", ONE), manifest=_manifest([_told("redis", ONE, sha256="0")])),
    "larger than allowed": lambda: archive(("redis.gz", BOMB)),
    "larger than it says": lambda: archive(("redis.gz", BOMB), manifest=_manifest([_told("redis", BOMB, size=9)])),
    "no gzip": lambda: archive(("redis.gz", b"one")),
    "half a gzip": lambda: archive(("redis.gz", ONE[:-4]), manifest=_manifest([_told("redis", ONE, packed=19)])),
    "two streams": lambda: archive(("redis.gz", TWO_STREAMS)),
}


@pytest.mark.provokes("SNAPSHOT_INVALID")
@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_files_that_are_not_taken_in(store: Snapshots, tmp_path: Path, make: Callable[[], bytes]) -> None:
    """Whatever is wrong with a file, it is refused with its name and a cause, and nothing of it stays."""
    file = tmp_path / "x.envctl"
    file.write_bytes(make())
    with pytest.raises(SnapshotInvalid, match=r"x\.envctl") as refused:
        store.take_in(file, "x", max_bytes=10_000_000, replace=False)
    assert refused.value.cause
    assert store.all() == []
    assert not store.folder.is_dir() or list(store.folder.iterdir()) == []


def test_a_file_that_is_as_it_should_be_is_taken_in(store: Snapshots, tmp_path: Path) -> None:
    """What the tests above make bad is good otherwise."""
    (tmp_path / "x").write_bytes(archive(("redis.gz", ONE), ("b.gz", BOMB)))
    store.take_in(tmp_path / "x", "x", max_bytes=MAX_BYTES, replace=False)
    with store.reading("x") as reader:
        assert reader.open("redis").read() == b"one"


def test_what_is_no_file(store: Snapshots, tmp_path: Path) -> None:
    """A folder, a pipe that nobody writes to and a file that is not there are errors at once."""
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "missing"):
        with pytest.raises(SnapshotInvalid):
            store.take_in(tmp_path / name, "x", max_bytes=MAX_BYTES, replace=False)


def test_a_damaged_one_is_listed_and_not_read(store: Snapshots) -> None:
    """Who lists snapshots sees that one is damaged; who wants to use it is told."""
    path = saved(store)
    path.write_bytes(path.read_bytes()[:-20_000])
    (found,) = store.all()
    assert (found.name, found.manifest) == ("demo", None)
    with pytest.raises(SnapshotInvalid, match=r"demo\.envctl"), store.reading("demo"):
        pass


def test_reading_stops_at_the_first_wrong_byte() -> None:
    """Nothing is handed on beyond the size that the manifest says, so that a small file cannot fill a disk."""
    file = io.BytesIO(archive(("redis.gz", BOMB), manifest=_manifest([_told("redis", BOMB, size=1000)])))
    content = Reader(file, MAX_BYTES).open("redis")
    with pytest.raises(SnapshotInvalid):
        content.read(2000)
