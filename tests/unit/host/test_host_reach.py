"""A program in a folder that the server's user cannot enter is used as a copy in one that it can."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from envctl.errors import EngineFailed
from envctl.host import account, programs, reach

SOMEBODY = (54321, 54322)  # neither root nor who runs the tests
PARTS = ("package/bin", "package/lib", "libs")
MAIN = "package/bin/tool"


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder others can pass through, with a run root in it."""
    folder = Path(mkdtemp(prefix="envctl-reach-", dir="/var/tmp"))
    folder.chmod(0o711)
    monkeypatch.setenv(account.RUN_DIR, str(folder / "run"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def base(place: Path) -> Path:
    """An installed package in somebody's home."""
    base = place / "home/site-packages"
    for name in (*PARTS, "package/include", "package/lib/deep/er"):
        (base / name).mkdir(parents=True, exist_ok=True)
    (base / MAIN).write_text("#!/bin/sh\ncat $(dirname $0)/../lib/deep/er/answer\n")
    (base / MAIN).chmod(0o755)
    (base / "package/lib/deep/er/answer").write_text("v=42")
    (base / "package/lib/tool.a").write_text("for linking")
    (base / "package/include/tool.h").write_text("for compiling")
    (base / "libs/lib.so").symlink_to(base / "package/lib/deep/er/answer")
    (place / "home").chmod(0o700)
    return base


def usable(base: Path) -> str:
    return reach.base_for(str(base), PARTS, MAIN, SOMEBODY)


def test_for_ourselves_nothing_is_copied(base: Path) -> None:
    """We reach what is ours."""
    assert reach.base_for(str(base), PARTS, MAIN, None) == str(base)


def test_what_can_be_reached_is_not_copied(base: Path, place: Path) -> None:
    """An open folder is used where it is."""
    (place / "home").chmod(0o755)

    assert usable(base) == str(base)
    assert not (place / "run").exists()


@pytest.mark.parametrize("closed", ["package/bin", "package/lib", "libs", MAIN])
def test_any_closed_part_is_noticed(base: Path, place: Path, closed: str) -> None:
    """A umask at the time of the installation closes folders one by one."""
    (place / "home").chmod(0o755)
    (base / closed).chmod(0o700)

    assert usable(base) != str(base)


def test_the_copy(base: Path, place: Path) -> None:
    """It has what is needed to run, nobody else can write to it, and it is made once."""
    copy = usable(base)

    assert Path(copy).is_relative_to(place / "run")
    found = {path.relative_to(copy).as_posix() for path in Path(copy).rglob("*") if path.is_file()}
    assert found == {MAIN, "package/lib/deep/er/answer", "libs/lib.so", ".complete"}
    assert {path.stat().st_mode & 0o022 for path in Path(copy).rglob("*")} == {0}
    assert not (Path(copy) / "libs/lib.so").is_symlink()
    before = (Path(copy) / MAIN).stat().st_ino
    assert usable(base) == copy
    assert (Path(copy) / MAIN).stat().st_ino == before


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_the_other_user_can_run_it(base: Path) -> None:
    """The copy answers where the original cannot even be seen."""
    assert programs.run([f"{usable(base)}/{MAIN}"], account=SOMEBODY, limit_s=10) == (0, "v=42")
    with pytest.raises(EngineFailed):
        programs.run([f"{base}/{MAIN}"], account=SOMEBODY, limit_s=10)


def test_a_newer_program_is_copied_again(base: Path) -> None:
    """After an upgrade the old copy is not used."""
    old = usable(base)
    (base / "package/lib/deep/er/answer").write_text("v=4711")

    new = usable(base)

    assert new != old
    assert (Path(new) / "package/lib/deep/er/answer").read_text() == "v=4711"


def test_a_damaged_copy_is_made_again(base: Path) -> None:
    """A file that is missing or has another size is noticed."""
    copy = Path(usable(base))
    (copy / MAIN).write_text("x")
    assert usable(base) == str(copy)
    assert (copy / MAIN).read_bytes() == (base / MAIN).read_bytes()
    (copy / "libs/lib.so").unlink()
    (copy / ".complete").unlink()

    usable(base)

    assert (copy / "libs/lib.so").is_file()


_PROCESS = "import sys; from envctl.host import reach; print(reach.base_for(sys.argv[1], {!r}, {!r}, (54321, 54322)))"


def test_several_processes_at_once(base: Path, place: Path) -> None:
    """All get the same whole copy, and nothing else stays."""
    command = [sys.executable, "-c", _PROCESS.format(PARTS, MAIN), str(base)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = {process.communicate(timeout=30)[0].strip() for process in processes}

    assert answers == {usable(base)}
    assert [path.name for path in (place / "run/programs").iterdir()] == [Path(usable(base)).name]


def test_older_copies_go(base: Path, place: Path) -> None:
    """A few copies stay; the others are removed."""
    for number in range(8):
        (base / "package/lib/deep/er/answer").write_text("v" * (number + 1))
        usable(base)

    assert len(list((place / "run/programs").iterdir())) == 5


def test_too_large_for_a_copy(base: Path) -> None:
    """A folder that cannot be what a server needs is not copied; the fix opens it."""
    with (base / "package/lib/huge").open("wb") as file:
        file.truncate(600 * 1024**2)

    with pytest.raises(EngineFailed, match="cannot reach") as caught:
        usable(base)

    assert "chmod o+x" in caught.value.fix[0]
