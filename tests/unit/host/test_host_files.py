"""Writing and removing files without harm."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from envctl.errors import CannotWrite
from envctl.host import files, owner


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o777])
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_mode_is_as_asked_whatever_the_umask(tmp_path: Path, umask: None, mask: int, mode: int) -> None:
    """A file with passwords is never readable by others, not even for a moment."""
    os.umask(mask)
    files.write_atomic(tmp_path / "f", "x", mode)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == mode


def test_content_arrives_as_text_and_bytes(tmp_path: Path) -> None:
    """Text is UTF-8; no line end is changed."""
    files.write_atomic(tmp_path / "f", "ä\r\n")
    assert (tmp_path / "f").read_bytes() == b"\xc3\xa4\r\n"
    files.write_atomic(tmp_path / "f", b"\x00\xff")
    assert (tmp_path / "f").read_bytes() == b"\x00\xff"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_symbolic_link_is_replaced_not_followed(tmp_path: Path) -> None:
    """Somebody's link cannot make us overwrite another file."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "f").symlink_to(victim)
    files.write_atomic(tmp_path / "f", "new")
    assert victim.read_text() == "untouched"
    assert not (tmp_path / "f").is_symlink()


def test_failed_write_keeps_the_old_file_and_no_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a file is never seen. The failing disk is mocked: fsync says EIO."""
    (tmp_path / "f").write_text("old")

    def broken(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(CannotWrite):
        files.write_atomic(tmp_path / "f", "new")
    assert (tmp_path / "f").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_missing_directory_is_named(tmp_path: Path) -> None:
    """The error says what is missing."""
    with pytest.raises(CannotWrite) as caught:
        files.write_atomic(tmp_path / "no" / "f", "x")
    assert caught.value.cause == "its directory does not exist"
    assert str(tmp_path / "no" / "f") in caught.value.message


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_full_disk_says_how_much_is_needed_and_free(tmp_path: Path) -> None:
    """Nothing half written stays on a full disk, and the numbers tell what to do."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        with pytest.raises(CannotWrite) as caught:
            files.write_atomic(disk / "f", b"x" * 200_000)
        assert caught.value.subject["needed_bytes"] == 200_000
        assert isinstance(caught.value.subject["free_bytes"], int)
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_sweep_removes_temporaries_of_the_dead_only(tmp_path: Path) -> None:
    """What kill -9 left goes; what a living process is writing, and files of others, stay."""
    me = owner.current()
    dead = tmp_path / f".f.{me.pid}-{me.start_ticks - 1}-0123abcd.tmp"
    alive = tmp_path / f".f.{me.pid}-{me.start_ticks}-0123abcd.tmp"
    other = tmp_path / ".something.tmp"
    for path in (dead, alive, other):
        path.write_text("")
        os.utime(path, (0, 0))
    recent = tmp_path / f".f.{me.pid}-{me.start_ticks - 1}-4567abcd.tmp"
    recent.write_text("")
    assert files.sweep(tmp_path) == 1
    recent.unlink()
    assert sorted(tmp_path.iterdir()) == sorted([alive, other])
    assert files.sweep(tmp_path / "absent") == 0


def test_remove_tree_takes_all_inside_and_follows_no_link(tmp_path: Path) -> None:
    """Folders, files and links go; what the links point to stays."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("stays")
    root = tmp_path / "state" / "environments" / "a"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "er" / "f").write_text("")
    (root / "to-folder").symlink_to(outside)
    (root / "to-file").symlink_to(outside / "f")
    (root / "dangling").symlink_to("nowhere")
    assert files.remove_tree(root, tmp_path / "state") == ()
    assert not root.exists()
    assert (outside / "f").read_text() == "stays"
    assert files.remove_tree(root, tmp_path / "state") == ()


def test_remove_tree_of_a_link_removes_the_link(tmp_path: Path) -> None:
    """An environment's folder that somebody replaced by a link is no way out."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "a").symlink_to(outside)
    assert files.remove_tree(tmp_path / "state" / "a", tmp_path / "state") == ()
    assert outside.is_dir()
    assert not (tmp_path / "state" / "a").is_symlink()


@pytest.mark.parametrize("path", ["state", "state/..", "state/../other", "other", "state/link/x"])
def test_remove_tree_outside_is_refused(tmp_path: Path, path: str) -> None:
    """Nothing but what is below the state directory is ever removed, also not through a link in the way."""
    for name in ("state", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "other" / "x").write_text("stays")
    (tmp_path / "state" / "link").symlink_to(tmp_path / "other")
    with pytest.raises(ValueError, match="not inside"):
        files.remove_tree(tmp_path / path, tmp_path / "state")
    assert (tmp_path / "other" / "x").read_text() == "stays"
