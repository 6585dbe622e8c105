"""A packed folder gives copies that are exactly the folder, and damage is noticed."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from envctl.host.copy import Damaged, Packed, open_packed, spread, unpack
from envctl.host.packing import pack

MEGABYTE = 1024**2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the sorts of files that clusters have."""
    made = tmp_path / "folder"
    (made / "base/1").mkdir(parents=True)
    (made / "base/5").mkdir()
    (made / "empty").mkdir()
    for name in ("base/1/100", "base/5/100"):
        (made / name).write_bytes(os.urandom(16384) if name == "base/1/100" else (made / "base/1/100").read_bytes())
    (made / "base/1/101").write_bytes(b"")
    (made / "wal").write_bytes(os.urandom(5000) + bytes(MEGABYTE))
    (made / "large").write_bytes(os.urandom(300_000))
    (made / "odd").write_bytes(b"x" * 4097)
    (made / "left out").write_bytes(b"secret")
    return made


@pytest.fixture
def packed(tmp_path: Path, folder: Path) -> Iterator[Packed]:
    """The folder, packed."""
    with (tmp_path / "packed").open("w+b") as file:
        pack(str(folder), file, {"note": [1, 2]}, lambda name: name == "left out")
        yield open_packed(file.fileno())


def tree(folder: Path) -> dict[str, bytes | None]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {name: path.read_bytes() if path.is_file() else None for name, path in found.items()}


def test_a_copy_is_the_folder(tmp_path: Path, folder: Path, packed: Packed) -> None:
    """Every file and folder is there, empty ones too, but what was left out."""
    copy = tmp_path / "copy"
    copy.mkdir()

    unpack(packed, str(copy))

    assert tree(copy) == {name: data for name, data in tree(folder).items() if name != "left out"}
    assert packed.meta == {"note": [1, 2]}


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o177])
def test_a_copy_is_private(tmp_path: Path, packed: Packed, mask: int) -> None:
    """Nobody else can read it, and we can, whatever the umask."""
    copy = tmp_path / "copy"
    copy.mkdir()
    old = os.umask(mask)
    try:
        unpack(packed, str(copy))
    finally:
        os.umask(old)

    modes = {(path.is_dir(), path.stat().st_mode & 0o777) for path in copy.rglob("*")}
    assert modes == {(True, 0o700), (False, 0o600)}


def test_a_copy_has_holes_and_the_pack_is_small(tmp_path: Path, packed: Packed) -> None:
    """Long runs of zeros take no room, and equal contents are stored once."""
    copy = tmp_path / "copy"
    copy.mkdir()
    unpack(packed, str(copy))

    assert (copy / "wal").stat().st_size == MEGABYTE + 5000
    assert (copy / "wal").stat().st_blocks * 512 < 100_000
    assert os.fstat(packed.fd).st_size < 350_000
    entries = {file.path: file.offset for file in packed.files}
    assert entries["base/1/100"] == entries["base/5/100"]


def test_gigabytes_pass_through_in_pieces(tmp_path: Path) -> None:
    """A large file with a long hole comes back as it was, takes no more room than it did, and no memory."""
    folder, copy = tmp_path / "folder", tmp_path / "copy"
    folder.mkdir()
    copy.mkdir()
    ends = os.urandom(3 * MEGABYTE + 17)
    with (folder / "large").open("wb") as file:
        file.write(ends)
        file.seek(1024 * MEGABYTE)
        file.write(ends)
        file.truncate(2048 * MEGABYTE)
    os.link(folder / "large", folder / "same")

    with (tmp_path / "packed").open("w+b") as file, _peak_bytes() as peak:
        pack(str(folder), file, {}, lambda _: False)
        packed = open_packed(file.fileno())
        unpack(packed, str(copy))
        assert os.fstat(file.fileno()).st_blocks * 512 < 10 * MEGABYTE

    assert peak() < 16 * MEGABYTE
    for name in ("large", "same"):
        found = copy / name
        assert found.stat().st_size == 2048 * MEGABYTE
        assert found.stat().st_blocks * 512 < 10 * MEGABYTE
        with found.open("rb") as file:
            assert file.read(len(ends) + 1) == ends + b"\0"
            file.seek(1024 * MEGABYTE)
            assert file.read(len(ends) + 1) == ends + b"\0"


@contextmanager
def _peak_bytes() -> Iterator[Callable[[], int]]:
    """The most memory that Python had at once within the block."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("blocked", ["000", "150", "299"])
def test_many_files(tmp_path: Path, blocked: str) -> None:
    """Many files are copied by two at once: all of them are there, and what one cannot write is told."""
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    for number in range(300):
        (folder / "below" / f"{number:03}").write_bytes(os.urandom(number))
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with (tmp_path / "packed").open("w+b") as file:
        pack(str(folder), file, {}, lambda _: False)
        packed = open_packed(file.fileno())
        unpack(packed, str(first))
        assert tree(first) == tree(folder)

        twice = [entry for entry in packed.files if entry.path.endswith(blocked)]
        with pytest.raises(FileExistsError):
            unpack(packed._replace(files=(*packed.files, *twice)), str(second))


def test_copies_are_apart(tmp_path: Path, packed: Packed) -> None:
    """Writing to one copy changes neither the next one nor its own equal files."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    unpack(packed, str(first))
    with (first / "base/1/100").open("r+b") as file:
        file.write(b"changed")

    unpack(packed, str(second))

    assert (first / "base/5/100").read_bytes() == (second / "base/1/100").read_bytes()
    assert not (second / "base/1/100").read_bytes().startswith(b"changed")


def test_nothing_is_written_over(tmp_path: Path, packed: Packed) -> None:
    """A copy goes into an empty folder: a link that waits there is not followed."""
    copy, victim = tmp_path / "copy", tmp_path / "victim"
    copy.mkdir()
    victim.write_text("mine")
    (copy / "odd").symlink_to(victim)

    with pytest.raises(FileExistsError):
        unpack(packed, str(copy))

    assert victim.read_text() == "mine"


def test_links_are_refused(tmp_path: Path, folder: Path) -> None:
    """A symbolic link could lead anywhere, so a folder with one is not packed."""
    (folder / "link").symlink_to("/etc/passwd")

    with (tmp_path / "packed").open("w+b") as file, pytest.raises(ValueError, match="link"):
        pack(str(folder), file, {}, lambda _: False)


@pytest.mark.parametrize("keep", [0, 10, 60, 3000, -5000])
def test_a_pack_that_was_cut_off(packed: Packed, keep: int) -> None:
    """It is not used."""
    size = os.fstat(packed.fd).st_size
    os.truncate(packed.fd, keep if keep >= 0 else size + keep)

    with pytest.raises(Damaged):
        open_packed(packed.fd)


@pytest.mark.parametrize("at", [0, 20, 30, 100])
def test_a_pack_with_a_damaged_index(packed: Packed, at: int) -> None:
    """One changed byte is enough."""
    byte = os.pread(packed.fd, 1, at)[0]
    os.pwrite(packed.fd, bytes([byte ^ 255]), at)

    with pytest.raises(Damaged):
        open_packed(packed.fd)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_a_copy_for_another_user(tmp_path: Path, packed: Packed) -> None:
    """Everything in it belongs to that user."""
    copy = tmp_path / "copy"
    copy.mkdir()

    unpack(packed, str(copy), (65534, 65533))

    assert {(path.stat().st_uid, path.stat().st_gid) for path in copy.rglob("*")} == {(65534, 65533)}


def test_spreading_is_only_a_wish(tmp_path: Path) -> None:
    """On every file system, and without the folder, it does no harm."""
    spread(str(tmp_path))
    spread(str(tmp_path / "missing"))
    spread("/dev/shm")
    (tmp_path / "a").mkdir()
