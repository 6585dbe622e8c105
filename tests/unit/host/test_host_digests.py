"""Digests of files' contents: always those of now, and read once where nothing changed."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import pytest

from envctl.host import digests as digests_module
from envctl.host.digests import Digests

HOUR_NS = 3600 * 10**9


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of two files."""
    (tmp_path / "project" / "db").mkdir(parents=True)
    (tmp_path / "project" / "db" / "a.sql").write_text("one")
    (tmp_path / "project" / "b.csv").write_text("two")
    return tmp_path / "project"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose contents were read."""
    import hashlib

    found: list[str] = []
    read = hashlib.file_digest

    def noted(file: BinaryIO, name: str) -> object:
        found.append(Path(f"/proc/self/fd/{file.fileno()}").readlink().name)
        return read(file, name)  # type: ignore[arg-type]  # a test gives what it likes

    monkeypatch.setattr(hashlib, "file_digest", noted)
    return found


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled as soon as they are written; no test waits for two seconds to pass."""
    monkeypatch.setattr(digests_module, "_SETTLED_NS", -HOUR_NS)


def look(project: Path, cache: Path | None = None) -> dict[str, str]:
    """What a new process is told of both files."""
    environ = {"ENVCTL_CACHE_DIR": str(cache or project.parent / "cache")}
    digests = Digests(project, environ)
    found = {name: digests.of(name) for name in ("db/a.sql", "b.csv")}
    digests.keep()
    return found


@pytest.mark.usefixtures("settled")
def test_a_file_is_read_once(project: Path, reads: list[str]) -> None:
    """The second process reads none, and the one after a change only the changed one."""
    assert look(project) == {"db/a.sql": sha256(b"one").hexdigest(), "b.csv": sha256(b"two").hexdigest()}
    look(project)
    assert reads == ["a.sql", "b.csv"]
    (project / "b.csv").write_text("new")
    assert look(project)["b.csv"] == sha256(b"new").hexdigest()
    assert reads == ["a.sql", "b.csv", "b.csv"]


def test_what_was_just_written_is_read_again(project: Path, reads: list[str]) -> None:
    """A second write within the same tick of the clock would leave size and times as they are."""
    look(project)
    look(project)
    assert reads == ["a.sql", "b.csv"] * 2


@pytest.mark.usefixtures("settled")
def test_nothing_brings_back_what_an_older_content_had(project: Path) -> None:
    """The same size and a time that was set back do not hide another content, nor does another file in its place."""
    before = (project / "b.csv").stat()
    look(project)
    (project / "b.csv").write_text("owt")
    os.utime(project / "b.csv", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert look(project)["b.csv"] == sha256(b"owt").hexdigest()
    (project / "new").write_text("wot")
    os.utime(project / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (project / "new").replace(project / "b.csv")
    assert look(project)["b.csv"] == sha256(b"wot").hexdigest()


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"b.csv": 5}', '{"b.csv": [1, 2]}', '{"b.csv": ["a", 2, 3, 4, "x"]}', "\udcff"]
)
def test_a_damaged_cache_is_read_past(project: Path, content: str) -> None:
    """What is in the cache is believed only where it has the form of what is written there."""
    good = look(project)
    (file,) = (project.parent / "cache" / "digests").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(content.encode("utf-8", "surrogateescape") + b"\n")
    assert look(project) == good


@pytest.mark.usefixtures("settled")
def test_without_a_cache(project: Path, reads: list[str]) -> None:
    """It costs time only."""
    (project.parent / "file").touch()
    assert look(project, project.parent / "file") == look(project, project.parent / "file")
    assert len(reads) == 4


def test_what_is_gone_is_forgotten(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache does not grow with every file there ever was."""
    monkeypatch.setattr(digests_module, "_SETTLED_NS", -HOUR_NS)
    monkeypatch.setattr(digests_module, "_FEW", 2)
    environ = {"ENVCTL_CACHE_DIR": str(project.parent / "cache")}
    for number in range(30):
        (project / f"{number}.sql").write_text("x")
        digests = Digests(project, environ)
        digests.of(f"{number}.sql")
        digests.keep()
    (file,) = (project.parent / "cache" / "digests").iterdir()
    assert 1 <= file.read_text().count(".sql") <= 5


def test_only_regular_files_have_a_content(project: Path) -> None:
    """A pipe is not waited for, and a folder is an error like any other."""
    os.mkfifo(project / "pipe")
    for name in ("pipe", "db", "nope"):
        with pytest.raises(OSError):
            Digests(project, {}).of(name)
