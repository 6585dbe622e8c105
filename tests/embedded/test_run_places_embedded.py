"""`envctl run` on machines that lack something: HOME, a disk that can be written, room on it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import Project
from held import Held
from surroundings import disk

REDIS = "services: {redis: {}}\n"


@pytest.fixture
def shop(project: Project) -> Project:
    """A project with one service."""
    project.config(REDIS)
    return project


@pytest.fixture
def small(shop: Project) -> Iterator[Path]:
    """The disk of the project's state directory, which is small. Needs root."""
    with disk(shop.folder / "small", "2m") as folder:
        shop.move(state=folder / "state")
        yield folder
        shop.run("down", "--all", "--force")


def fill(folder: Path) -> None:
    """Use every byte of the disk."""
    with (folder / "filler").open("wb", buffering=0) as filler:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    filler.write(b"x" * size)
            except OSError:
                continue


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder that nobody who opens something in it now can write. Needs root."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a folder")
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_no_home(shop: Project) -> None:
    """Neither HOME nor who we are is needed."""
    for name in ("HOME", "USER", "LOGNAME", "ENVCTL_CACHE_DIR"):
        shop.environ.pop(name, None)
    assert shop.run("run", "--", "sh", "-c", 'echo "$REDIS_URL$HOME"', check=True).out.startswith("redis://")
    shop.assert_nothing_left()


@pytest.mark.root
def test_a_checkout_that_cannot_be_written(shop: Project) -> None:
    """Nothing is written into it; logs that could go only there are told of, and the exit code is the command's."""
    with read_only(shop.root):
        done = shop.run("run", "--artifacts", "logs", "--", "sh", "-c", "exit 5")
    assert done.code == 5
    assert "logs could not be kept" in done.err
    shop.assert_nothing_left()


@pytest.mark.root
def test_a_disk_that_fills_up_during_the_run(shop: Project, small: Path) -> None:
    """All is removed at its end, with not a byte left; that its logs cannot be kept does not hide its exit code."""
    held = Held(shop, last="exit 6")
    run = shop.start("run", "--", *held.words)
    assert held.has_begun
    fill(small)
    held.release()
    _, err = run.communicate(timeout=30)
    assert run.returncode == 6
    assert "logs could not be kept" in err
    assert "Traceback" not in err
    (small / "filler").unlink()
    shop.allow_files("runs/*")
    shop.assert_nothing_left()


@pytest.mark.root
def test_a_disk_that_becomes_read_only_during_the_run(shop: Project, small: Path) -> None:
    """The removal cannot be written down: envctl says so, and the first command that can write has it done."""
    held = Held(shop)
    run = shop.start("run", "--format", "json", "--", *held.words)
    assert held.has_begun
    with read_only(small):
        held.release()
        _, err = run.communicate(timeout=30)
        error = json.loads(err.splitlines()[-1])["error"]
        assert (run.returncode, error["exit"], error["code"]) == (125, 125, "CANNOT_WRITE")
        assert shop.error("run", "--", "true")["code"] == "CANNOT_WRITE"
    shop.run("ls", check=True)
    shop.assert_nothing_left()
