"""What is expensive to make is made once, whoever else wants it at the same time and whatever happens to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from envctl.errors import EngineFailed
from envctl.host import cache

CONTENT = b"made with care" * 1000


class Maker:
    """Makes the content, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, target: BinaryIO) -> None:
        self.count += 1
        target.write(CONTENT)


def get(place: Path | None, make: Callable[[BinaryIO], None], beside: Path, key: str = "key") -> bytes:
    with cache.entry(place, "things", key, make, beside) as fd:
        return os.pread(fd, 1 << 20, 0)


def until(check: Callable[[], object], limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not check():
        assert time.monotonic() < deadline, f"not within {limit_s} s"
        time.sleep(0.005)


# -- where ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({"ENVCTL_CACHE_DIR": "/c", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, Path("/c")),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, Path("/x/envctl")),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, Path("/h/.cache/envctl")),
        ({"HOME": "/h"}, Path("/h/.cache/envctl")),
        ({}, None),
    ],
)
def test_the_folder(environ: dict[str, str], place: Path | None) -> None:
    """The variable of envctl comes first, then the XDG base directory, then the home; none of them is fine too."""
    assert cache.root(environ) == place


# -- once -------------------------------------------------------------------------------------------------------------


def test_made_once(tmp_path: Path) -> None:
    """The second use finds what the first one made."""
    make = Maker()

    assert [get(tmp_path / "cache", make, tmp_path) for _ in range(3)] == [CONTENT] * 3

    assert make.count == 1


def test_keys_are_apart(tmp_path: Path) -> None:
    """Another key is another entry."""
    make = Maker()
    for key in ("a", "b", "a"):
        get(tmp_path / "cache", make, tmp_path, key)

    assert make.count == 2


_PROCESS = """
import os, sys, time
from pathlib import Path
from envctl.host import cache
place, folder, mode = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
me = folder / str(os.getpid())
def make(target):
    target.write(b"half")
    target.flush()
    (folder / f"making-{os.getpid()}").touch()
    while mode == "hang" or not (folder / "go").exists():
        time.sleep(0.002)
    target.seek(0)
    target.write(b"whole")
me.touch()
with cache.entry(place, "things", "key", make, folder) as fd:
    (folder / f"got-{os.getpid()}").write_bytes(os.pread(fd, 100, 0))
"""


def start(place: Path, folder: Path, mode: str = "") -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _PROCESS, str(place), str(folder), mode])


def test_several_processes_at_once_make_it_once(tmp_path: Path) -> None:
    """All get the whole content, and one of them made it."""
    processes = [start(tmp_path / "cache", tmp_path) for _ in range(4)]
    try:
        until(lambda: all((tmp_path / str(process.pid)).exists() for process in processes))
        until(lambda: list(tmp_path.glob("making-*")))
        (tmp_path / "go").touch()
        assert [process.wait(20) for process in processes] == [0] * 4
    finally:
        for process in processes:
            process.kill()
            process.wait(10)

    assert [path.read_bytes() for path in tmp_path.glob("got-*")] == [b"whole"] * 4
    assert len(list(tmp_path.glob("making-*"))) == 1


def test_killed_while_making(tmp_path: Path) -> None:
    """What a killed process had begun is never used: the next one makes it, without waiting."""
    process = start(tmp_path / "cache", tmp_path, "hang")
    try:
        until(lambda: list(tmp_path.glob("making-*")))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    make = Maker()

    started = time.monotonic()
    assert get(tmp_path / "cache", make, tmp_path) == CONTENT

    assert make.count == 1
    assert time.monotonic() - started < 5


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    """An entry that could not be made is not there, and its error is told as it is."""

    def fail(target: BinaryIO) -> None:
        target.write(b"half")
        raise EngineFailed("no", fix=["no"])

    with pytest.raises(EngineFailed):
        get(tmp_path / "cache", fail, tmp_path)

    assert [path for path in (tmp_path / "cache" / "things").rglob("*") if path.is_file()] == []
    assert get(tmp_path / "cache", Maker(), tmp_path) == CONTENT


# -- damage -----------------------------------------------------------------------------------------------------------


def _cut(content: Path) -> None:
    os.truncate(content, 5)


def _flip(content: Path) -> None:
    data = bytearray(content.read_bytes())
    data[700] ^= 1
    content.write_bytes(data)


def _remove(content: Path) -> None:
    content.unlink()


def _unseal(content: Path) -> None:
    content.with_name("complete").unlink()


def _nonsense(content: Path) -> None:
    content.with_name("complete").write_bytes(b"\xff[")


def _not_a_seal(content: Path) -> None:
    content.with_name("complete").write_text("[]")


@pytest.mark.parametrize("damage", [_cut, _flip, _remove, _unseal, _nonsense, _not_a_seal])
def test_a_damaged_entry_is_made_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """Nothing but the very content that was made is used."""
    make = Maker()
    get(tmp_path / "cache", make, tmp_path)
    damage(tmp_path / "cache/things/key/content")

    assert get(tmp_path / "cache", make, tmp_path) == CONTENT
    assert get(tmp_path / "cache", make, tmp_path) == CONTENT

    assert make.count == 2


def test_a_cache_that_was_carried_elsewhere(tmp_path: Path) -> None:
    """Other times with the same bytes, as after a restore by a CI system, do no harm, and cost one reading."""
    make = Maker()
    get(tmp_path / "cache", make, tmp_path)
    content = tmp_path / "cache/things/key/content"
    before = content.stat().st_mtime_ns
    os.utime(content, (1, 1))

    assert get(tmp_path / "cache", make, tmp_path) == CONTENT
    assert make.count == 1
    assert content.stat().st_mtime_ns == before


# -- no cache ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["none", "a file", "below a file"])
def test_without_a_cache_it_is_made_for_this_use(tmp_path: Path, place: str) -> None:
    """Where nothing can be kept it is made each time; no file stays."""
    (tmp_path / "file").touch()
    places = {"none": None, "a file": tmp_path / "file", "below a file": tmp_path / "file" / "cache"}
    make = Maker()
    beside = tmp_path / "beside"
    beside.mkdir()

    assert get(places[place], make, beside) == CONTENT
    assert get(places[place], make, beside) == CONTENT

    assert make.count >= 2
    assert list(beside.iterdir()) == []


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_only_the_last_used_are_kept(tmp_path: Path) -> None:
    """A few entries stay; those used longest ago go first."""
    make = Maker()
    for number in range(8):
        get(tmp_path / "cache", make, tmp_path, f"k{number}")
        os.utime(tmp_path / f"cache/things/k{number}/complete", (1000 + number, 1000 + number))
    get(tmp_path / "cache", make, tmp_path, "k0")  # used again

    get(tmp_path / "cache", make, tmp_path, "k8")

    kept = {path.name for path in (tmp_path / "cache/things").iterdir()}
    assert kept == {"k0", *(f"k{number}" for number in range(2, 9))}


def test_an_entry_in_use_can_be_read_to_its_end(tmp_path: Path) -> None:
    """Being removed meanwhile does not disturb who has it open."""
    make = Maker()
    with cache.entry(tmp_path / "cache", "things", "old", make, tmp_path) as fd:
        os.utime(tmp_path / "cache/things/old/complete", (1, 1))
        for number in range(9):
            get(tmp_path / "cache", make, tmp_path, f"k{number}")
        assert not (tmp_path / "cache/things/old").exists()
        assert os.pread(fd, 1 << 20, 0) == CONTENT


# -- working folders --------------------------------------------------------------------------------------------------


def test_a_working_folder_is_private_and_goes(tmp_path: Path) -> None:
    """It is ours alone while it is used, and gone afterwards."""
    with cache.working_folder(tmp_path) as work:
        assert work.stat().st_mode & 0o777 == 0o700
        (work / "file").touch()

    assert list(tmp_path.iterdir()) == []


def test_working_folders_of_killed_processes_go(tmp_path: Path) -> None:
    """What nobody will finish is removed; what is fresh, or belongs to a live process, is not."""
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead = int(ended.stdout)
    names = [f".work.{dead}-1-0000000{n}.tmp" for n in range(2)] + [f".work.{os.getpid()}-0-00000003.tmp", ".work.x"]
    for name in names:
        (tmp_path / name / "sub").mkdir(parents=True)
    for name in (names[0], *names[2:]):
        os.utime(tmp_path / name, (1, 1))

    with cache.working_folder(tmp_path):
        pass

    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])


# -- short answers ----------------------------------------------------------------------------------------------------


def test_an_answer_is_remembered(tmp_path: Path) -> None:
    """It is looked for once; half of it, as a full disk leaves, counts as nothing."""
    asked = []

    def find() -> str:
        asked.append(1)
        return "18.6"

    assert [cache.remembered(tmp_path / "cache", "versions", "pg", find) for _ in range(2)] == ["18.6", "18.6"]
    assert len(asked) == 1
    (tmp_path / "cache/versions/pg").write_text("18")
    assert cache.remembered(tmp_path / "cache", "versions", "pg", find) == "18.6"
    assert len(asked) == 2


def test_an_answer_that_cannot_be_kept(tmp_path: Path) -> None:
    """Without a usable cache the question is asked each time."""
    (tmp_path / "file").touch()

    assert cache.remembered(tmp_path / "file", "versions", "pg", lambda: "1") == "1"
    assert cache.remembered(None, "versions", "pg", lambda: "2") == "2"
