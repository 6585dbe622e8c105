"""The state directory: full, read-only, of somebody else, lost, damaged, newer, and a configuration that is gone."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from harness import Project

REDIS = "services:\n  redis: {}\n"

pytestmark = pytest.mark.timeout(240)


def _same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two reports hand out the same connections."""
    return first["variables"] == second["variables"]


# -- where it cannot be written ------------------------------------------------------------------------------------


def _mount(path: Path, *options: str) -> None:
    subprocess.run(["mount", *options, str(path)], check=True, capture_output=True)


@pytest.fixture
def small_disk(project: Project) -> Iterator[Project]:
    """A project whose state directory is a disk of 1 MB."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    disk = project.folder / "disk"
    disk.mkdir()
    _mount(disk, "-t", "tmpfs", "-o", "size=1m,mode=0700", "none")
    state = disk / "state"
    state.mkdir(mode=0o700)
    project.environ["ENVCTL_STATE_DIR"] = str(state)
    project.config(REDIS)
    yield project
    (disk / "filler").unlink(missing_ok=True)
    project.run("down", "--all")
    subprocess.run(["umount", str(disk)], check=True)


def _fill(disk: Path) -> None:
    """Use every byte of the disk."""
    fd = os.open(disk / "filler", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    os.write(fd, b"x" * size)
            except OSError:
                continue
    finally:
        os.close(fd)


@pytest.mark.root
def test_down_works_on_a_full_disk(small_disk: Project) -> None:
    """With not a byte left on the state directory's disk `down` removes everything."""
    small_disk.up()
    _fill(small_disk.folder / "disk")
    small_disk.run("env", check=True)
    removed = small_disk.run("down", "--format", "json")
    assert removed.code == 0, str(removed)
    assert small_disk.labelled() == []
    assert small_disk.run("ls", "--format", "json", check=True).json["environments"] == []


@pytest.mark.root
@pytest.mark.provokes("CANNOT_WRITE")
def test_up_on_a_full_disk(small_disk: Project) -> None:
    """`up` on a full disk is refused with 73 before anything is created, and works when there is room again."""
    _fill(small_disk.folder / "disk")
    error = small_disk.error("up")
    assert (error["code"], error["exit"]) == ("CANNOT_WRITE", 73)
    assert "ENVCTL_STATE_DIR" in " ".join(error["fix"])
    assert small_disk.labelled() == []
    (small_disk.folder / "disk" / "filler").unlink()
    small_disk.up()
    small_disk.run("down", check=True)


@pytest.mark.root
def test_unchanged_up_on_a_full_disk(small_disk: Project) -> None:
    """An environment that runs can still be used on a full disk: `up`, `env` and `url` only read."""
    first = small_disk.up()
    _fill(small_disk.folder / "disk")
    assert _same(first, small_disk.up())
    assert small_disk.run("url", "redis", check=True).out.strip() == first["services"]["redis"]["url"]


@pytest.mark.root
def test_read_only_state_directory(small_disk: Project) -> None:
    """On a read-only disk reading goes on, and what must write says so with 73 and changes nothing."""
    first = small_disk.up()
    disk = small_disk.folder / "disk"
    _mount(disk, "-o", "remount,ro")
    try:
        assert small_disk.run("url", "redis", check=True).out.strip() == first["services"]["redis"]["url"]
        assert small_disk.run("status", "--format", "json", check=True).json["state"] == "ready"
        assert small_disk.error("down")["code"] == "CANNOT_WRITE"
        assert small_disk.error("up", "--name", "other")["code"] == "CANNOT_WRITE"
    finally:
        _mount(disk, "-o", "remount,rw")
    assert len(small_disk.containers()) == 1
    small_disk.run("down", check=True)


@pytest.mark.root
@pytest.mark.provokes("STATE_DENIED")
@pytest.mark.parametrize("command", ["up", "down", "env", "ls"])
def test_state_directory_of_another_user(project: Project, command: str) -> None:
    """A state directory that belongs to somebody else is not used, and the command that gives it back is shown."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to give a directory away")
    project.config(REDIS)
    os.chown(project.state, 65534, 65534)
    try:
        error = project.error(command)
        assert (error["code"], error["exit"]) == ("STATE_DENIED", 77)
        assert any("chown" in line for line in error["fix"])
        assert list(project.state.iterdir()) == []
    finally:
        os.chown(project.state, os.getuid(), os.getgid())


@pytest.mark.parametrize("mode", [0o770, 0o750, 0o707, 0o701])
def test_state_directory_open_to_others(project: Project, mode: int) -> None:
    """It holds passwords: where others have any access it is not used."""
    project.config(REDIS)
    project.state.chmod(mode)
    error = project.error("up")
    assert (error["code"], error["exit"]) == ("STATE_DENIED", 77)
    assert any("chmod 700" in line for line in error["fix"])
    project.state.chmod(0o700)


def test_no_home(project: Project) -> None:
    """Without HOME the state is where the user database says, or below XDG_STATE_HOME; passwords stay private."""
    project.config(REDIS)
    home = project.folder / "xdg"
    del project.environ["ENVCTL_STATE_DIR"]
    project.environ.pop("HOME", None)
    project.environ["XDG_STATE_HOME"] = str(home)
    project.up()
    files = [path for path in home.rglob("*") if path.is_file()]
    folders = [path for path in (home / "envctl").rglob("*") if path.is_dir()]
    assert files
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in [home / "envctl", *folders]} == {0o700}
    project.run("down", check=True)
    assert project.labelled() == []


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_modes_do_not_depend_on_the_umask(project: Project, umask: int) -> None:
    """Files of the state directory are for their owner alone, whatever the umask."""
    project.config(REDIS)
    shutil.rmtree(project.state)
    before = os.umask(umask)
    try:
        process = project.start("up")
    finally:
        os.umask(before)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    for path in [project.state, *project.state.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    project.run("down", check=True)
    project.assert_nothing_left()


# -- lost and damaged ----------------------------------------------------------------------------------------------


def _delete(state: Path) -> None:
    (state / "registry.db").unlink()


def _garbage(state: Path) -> None:
    (state / "registry.db").write_bytes(os.urandom(8192))


def _empty(state: Path) -> None:
    (state / "registry.db").write_bytes(b"")


def _half(state: Path) -> None:
    file = state / "registry.db"
    os.truncate(file, file.stat().st_size // 2)


def _flipped(state: Path) -> None:
    file = state / "registry.db"
    content = bytearray(file.read_bytes())
    for place in range(200, len(content), 97):
        content[place] ^= 0xFF
    file.write_bytes(content)


def _folder(state: Path) -> None:
    (state / "registry.db").unlink()
    (state / "registry.db").mkdir()


DAMAGES = [_delete, _garbage, _empty, _half, _flipped, _folder]


@pytest.fixture
def running(project: Project) -> tuple[Project, dict[str, Any]]:
    """An environment that runs, and what `up` said of it."""
    project.allow_files("registry.db.damaged-*", "registry.db.damaged-*/*")
    project.config(REDIS)
    return project, project.up()


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda function: function.__name__.strip("_"))
def test_up_after_the_registry_was_lost(
    running: tuple[Project, dict[str, Any]], damage: Callable[[Path], None]
) -> None:
    """`up` finds the environment again by its labels: the same containers, ports and passwords."""
    project, first = running
    before = project.containers()
    damage(project.state)
    assert _same(first, project.up())
    assert project.containers() == before
    assert project.run("url", "redis", check=True).out.strip() == first["services"]["redis"]["url"]
    project.run("down", check=True)
    project.assert_nothing_left()


@pytest.mark.parametrize("damage", [_delete, _garbage, _half], ids=lambda function: function.__name__.strip("_"))
def test_down_after_the_registry_was_lost(
    running: tuple[Project, dict[str, Any]], damage: Callable[[Path], None]
) -> None:
    """`down` finds it again too, also without a configuration, and leaves nothing."""
    project, _ = running
    damage(project.state)
    (project.root / "envctl.yaml").unlink()
    project.run("down", check=True)
    project.assert_nothing_left()


def test_lost_registry_does_not_give_ports_twice(running: tuple[Project, dict[str, Any]]) -> None:
    """After the registry was lost an `up` of another environment takes neither port nor subnet of the first."""
    project, first = running
    _delete(project.state)
    second = project.up("--name", "second")
    assert second["services"]["redis"]["port"] != first["services"]["redis"]["port"]
    assert _same(first, project.up())
    project.run("down", "--all", check=True)
    project.assert_nothing_left()


def test_lost_registry_while_only_networks_and_volumes_are_left(running: tuple[Project, dict[str, Any]]) -> None:
    """Killed after its containers were removed, and the registry lost: networks and volumes are found again too."""
    project, _ = running
    project.docker("rm", "--force", *project.containers().values())
    _delete(project.state)
    project.run("down", check=True)
    project.assert_nothing_left()


def test_lost_registry_keeps_persistent_data(project: Project) -> None:
    """Data of `persist: true` survives `down`, then the loss of the registry, and is there after the next `up`."""
    project.config("services:\n  redis: {persist: true}\n")
    project.up()
    project.run("exec", "redis", "--", "sh", "-c", 'redis-cli -a "$(cat /run/secrets/*)" set kept 1', check=True)
    project.run("exec", "redis", "--", "sh", "-c", 'redis-cli -a "$(cat /run/secrets/*)" save', check=True)
    project.run("down", check=True)
    volumes = [thing.id for thing in project.labelled()]
    assert len(volumes) == 1
    _delete(project.state)
    project.up()
    assert [thing.id for thing in project.labelled() if thing.noun == "volume"] == volumes
    value = project.run("exec", "redis", "--", "sh", "-c", 'redis-cli -a "$(cat /run/secrets/*)" get kept', check=True)
    assert value.out.strip().splitlines()[-1] == "1"
    project.run("down", "--purge", check=True)
    project.assert_nothing_left()


def test_lost_registry_keeps_data_dirty(project: Project) -> None:
    """What was left half changed is refused after the registry was lost, also while only its data is there."""
    steps = "[{command: 'true', inputs: []}, {command: test ! -e fail, inputs: []}]"
    project.config(f"services:\n  redis: {{persist: true, seed: {steps}}}\n")
    project.up()
    project.write("fail", "")
    assert project.error("seed")["code"] == "SEED_FAILED"
    _delete(project.state)
    assert project.error("up")["code"] == "DATA_DIRTY"
    project.run("down", check=True)
    _delete(project.state)
    assert project.error("up")["code"] == "DATA_DIRTY"
    project.run("down", "--purge", check=True)
    project.assert_nothing_left()


def test_registry_lost_while_up_runs(project: Project) -> None:
    """Deleting the registry in the middle of an `up` harms neither that `up`'s end nor the next command."""
    project.config(REDIS)
    process = project.start("up", "--format", "json")
    locks = project.state / "locks"
    while process.poll() is None and not list(locks.glob("env-*.lock")):
        pass
    (project.state / "registry.db").unlink(missing_ok=True)
    _, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    assert "BUG" not in err
    project.up()
    assert len(project.containers()) == 1
    project.run("down", check=True)
    project.assert_nothing_left()


# -- newer ---------------------------------------------------------------------------------------------------------


@pytest.mark.provokes("REGISTRY_NEWER")
@pytest.mark.parametrize("command", ["up", "down", "env", "ls"])
def test_registry_of_a_newer_envctl(project: Project, command: str) -> None:
    """A registry that a newer envctl wrote is refused with 76 and not touched by any byte."""
    project.run("ls", check=True)
    project.config(REDIS)
    file = project.state / "registry.db"
    project.run("down", check=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.commit()
    before = file.read_bytes()
    error = project.error(command)
    assert (error["code"], error["exit"]) == ("REGISTRY_NEWER", 76)
    assert file.read_bytes() == before
    file.unlink()


# -- the configuration and the project -----------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["deleted", "broken", "folder"])
def test_down_without_a_configuration(running: tuple[Project, dict[str, Any]], lost: str) -> None:
    """`down` needs no configuration: it may be gone or broken, and the folder with it."""
    project, _ = running
    if lost == "deleted":
        (project.root / "envctl.yaml").unlink()
    elif lost == "broken":
        project.config("services: [: {\n")
    if lost == "folder":
        shutil.rmtree(project.root)
        project.run("down", "--all", check=True, cwd=project.folder)
        project.root.mkdir()
    else:
        project.run("env", check=True)
        project.run("down", check=True)
    project.assert_nothing_left()


def test_half_written_files_are_replaced(running: tuple[Project, dict[str, Any]]) -> None:
    """Files that a killed `up` left half written, and temporary ones beside them, are replaced or removed."""
    project, first = running
    folder = next((project.state / "environments").iterdir())
    document = folder / "compose.yaml"
    document.write_text(document.read_text()[:50])
    (folder / ".compose.yaml.0123.tmp").write_text("half")
    project.docker("rm", "--force", *project.containers().values())
    assert _same(first, project.up())
    project.run("down", check=True)
    project.assert_nothing_left()


def test_deleted_files_do_not_matter(running: tuple[Project, dict[str, Any]]) -> None:
    """Everything below `environments` and `locks` can be deleted while an environment runs."""
    project, first = running
    for name in ("environments", "locks", "reserve"):
        path = project.state / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    assert _same(first, project.up())
    project.run("down", check=True)
    project.assert_nothing_left()
