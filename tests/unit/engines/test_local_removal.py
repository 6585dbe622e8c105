"""Ending processes and removing their files, whatever state they are in."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from local_stacks import REGISTRY, Stacks, definition, eventually, is_running, stacks_in

from envctl.engines.local import folders, labelled, records, removal
from envctl.errors import Leftovers
from envctl.host import account, clock
from envctl.model import Stack

TRAP = 'trap "{what}" TERM; echo ready; while :; do sleep 0.05; done'


@pytest.fixture
def stacks(tmp_path: Path) -> Iterator[Stacks]:
    with stacks_in(tmp_path) as made:
        yield made


def shell(script: str, **changes: object) -> dict[str, object]:
    return definition("sh", "-c", script, **changes)


def with_data(stacks: Stacks, stack: Stack, name: str) -> Path:
    data = stacks.folder(stack) / name / "data"
    (data / "base").mkdir(parents=True)
    (data / "base" / "1").write_text("of the user")
    return data


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def said(stacks: Stacks, stack: Stack, name: str) -> str:
    log = stacks.folder(stack) / name / "log"
    return log.read_text() if log.exists() else ""


# -- all of a stack --------------------------------------------------------------------------------------------------


def test_nothing_is_left_of_a_stack(stacks: Stacks) -> None:
    """Processes, their children, keepers, data, logs and notes are gone, and are counted."""
    stack = stacks.stack()
    stacks.up(stack, {"app": shell("sleep 1000 & sleep 1000"), "db": definition(data="db-data")})
    with_data(stacks, stack, "db")
    eventually(lambda: len(stacks.carriers(stack)) == 4)
    everyone = stacks.carriers(stack) | stacks.keepers(stack)
    done = removal.remove(stacks.state, stack, purge=False)
    assert (done.counts, done.kept, done.left) == ({"process": 2, "volume": 1}, (), ())
    assert not [pid for pid in everyone if is_running(pid)]
    assert not stacks.folder(stack).exists()


def test_a_second_time_there_is_nothing_to_do(stacks: Stacks) -> None:
    """Also for a stack that never had anything, and one that never got an id."""
    stack = stacks.stack()
    stacks.up(stack, {"app": definition()})
    removal.remove(stacks.state, stack, purge=False)
    for other in (stack, stacks.stack(), Stack("", "p", "embedded", "")):
        done = removal.remove(stacks.state, other, purge=True)
        assert (done.counts, done.kept, done.left) == ({}, (), ())


def test_what_a_killed_removal_has_left_outside(
    stacks: Stacks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty folders outside of the state directory, whose data is gone already, go too."""
    (tmp_path / "run").mkdir(mode=0o711)
    monkeypatch.setenv(account.RUN_DIR, str(tmp_path / "run"))
    stack = stacks.stack()
    stacks.up(stack, {"app": definition()})
    (tmp_path / "run" / account._digest(stacks.state) / stack.id).mkdir(parents=True)
    removal.remove(stacks.state, stack, purge=False)
    assert list((tmp_path / "run").iterdir()) == []


def test_another_stack_is_not_touched(stacks: Stacks) -> None:
    """Only what carries this stack's id is ended."""
    one, other = stacks.stack(), stacks.stack()
    for stack in (one, other):
        stacks.up(stack, {"app": definition()})
    removal.remove(stacks.state, one, purge=True)
    assert len(stacks.carriers(other)) == 1
    assert stacks.records(other)["app"].state == "running"


def test_services_are_ended_side_by_side(stacks: Stacks) -> None:
    """Several that take their time take it at once."""
    stack = stacks.stack()
    names = [f"app{number}" for number in range(6)]
    slow = {"stop_signal": "SIGTERM", "discard_signal": "SIGTERM"}
    stacks.up(stack, {name: shell(TRAP.format(what="sleep 0.5; exit"), **slow) for name in names})
    eventually(lambda: all("ready" in said(stacks, stack, name) for name in names))
    before_s = clock.monotonic_s()
    assert removal.remove(stacks.state, stack, purge=False).counts == {"process": 6}
    assert 0.5 <= clock.monotonic_s() - before_s < 2.5


def test_processes_without_any_record_are_found(stacks: Stacks) -> None:
    """Whatever became of the files, the variable tells whose a process is."""
    stack = stacks.stack()
    stacks.up(stack, {"app": shell("setsid sleep 1000 & sleep 1000"), "db": definition()})
    eventually(lambda: len(stacks.carriers(stack)) == 4)
    everyone = stacks.carriers(stack)
    shutil.rmtree(stacks.folder(stack) / "app")
    (stacks.folder(stack) / "db" / records.PROCESS).unlink()
    done = removal.remove(stacks.state, stack, purge=False)
    assert (done.counts, done.left) == ({"process": 2}, ())
    assert not [pid for pid in everyone if is_running(pid)]
    assert not stacks.folder(stack).exists()


def test_a_stack_whose_keeper_was_killed_is_ended(stacks: Stacks) -> None:
    """Nobody needs the keeper in order to find what it kept."""
    stack = stacks.stack()
    stacks.up(stack, {"app": shell("sleep 1000 & sleep 1000")})
    eventually(lambda: len(stacks.carriers(stack)) == 3)
    everyone = stacks.carriers(stack)
    for keeper in stacks.keepers(stack):
        os.kill(keeper, signal.SIGKILL)
    assert removal.remove(stacks.state, stack, purge=False).left == ()
    assert not [pid for pid in everyone if is_running(pid)]


@pytest.mark.parametrize("name", ["app/definition.json", "app/process.json", "app/exit.json", "stack.json", "app/log"])
@pytest.mark.parametrize("damage", [b"", b"\0\xff{", b"[]", None])
def test_damaged_and_missing_files_do_not_stop_it(stacks: Stacks, name: str, damage: bytes | None) -> None:
    """Half-written, foreign and missing files are removed like whole ones."""
    stack = stacks.stack()
    stacks.up(stack, {"app": definition(data="app-data")})
    with_data(stacks, stack, "app")
    path = stacks.folder(stack) / name
    path.unlink(missing_ok=True)
    if damage is not None:
        path.write_bytes(damage)
    everyone = stacks.carriers(stack)
    done = removal.remove(stacks.state, stack, purge=False)
    assert (done.counts, done.left) == ({"process": 1, "volume": 1}, ())
    assert not [pid for pid in everyone if is_running(pid)]
    assert not stacks.folder(stack).exists()


def test_what_is_no_file_is_removed_too(stacks: Stacks) -> None:
    """Links are removed and not followed, sockets and pipes are files like others."""
    stack = stacks.stack()
    stacks.up(stack, {"app": definition()})
    outside = stacks.state.parent / "outside"
    outside.mkdir()
    (outside / "stays").write_text("")
    (stacks.folder(stack) / "app" / "data").symlink_to(outside)
    (stacks.folder(stack) / "link").symlink_to(outside)
    os.mkfifo(stacks.folder(stack) / "app" / "pipe")
    assert removal.remove(stacks.state, stack, purge=True).left == ()
    assert not stacks.folder(stack).exists()
    assert (outside / "stays").exists()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a file that cannot be removed")
def test_what_cannot_be_removed_is_named(stacks: Stacks) -> None:
    """The rest is gone all the same, and the next time it goes on."""
    stack = stacks.stack()
    stacks.up(stack, {"app": definition(data="app-data"), "db": definition()})
    stubborn = with_data(stacks, stack, "app") / "base" / "1"
    done = subprocess.run(["chattr", "+i", stubborn], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this file system knows no immutable files")
    try:
        left = removal.remove(stacks.state, stack, purge=True).left
        assert any(line.startswith(f"{stubborn}: ") for line in left)
        assert stacks.carriers(stack) == set()
        assert not (stacks.folder(stack) / "db").exists()
        with pytest.raises(Leftovers):
            removal.discard(stacks.state, stacks.folder(stack) / "app" / "data")
    finally:
        subprocess.run(["chattr", "-i", stubborn], check=True)
    assert removal.remove(stacks.state, stack, purge=True).left == ()
    assert not stacks.folder(stack).exists()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_full_disk_does_not_stop_it(tmp_path: Path) -> None:
    """`down` is how space is won back: it needs none."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a small disk")
    try:
        with stacks_in(disk) as stacks:
            stack = stacks.stack()
            stacks.up(stack, {"db": definition(persist=True, data="db-data"), "app": shell("yes")})
            (stacks.folder(stack) / "db" / "data").mkdir()
            fill(stacks.folder(stack) / "db" / "data" / "filled")
            everyone = stacks.carriers(stack) | stacks.keepers(stack)
            done = removal.remove(stacks.state, stack, purge=False)
            assert (done.counts, len(done.kept), done.left) == ({"process": 2}, 1, ())
            assert not [pid for pid in everyone if is_running(pid)]
            assert removal.remove(stacks.state, stack, purge=True).left == ()
            assert not stacks.folder(stack).exists()
    finally:
        subprocess.run(["umount", disk], check=True)


# -- data that persists ----------------------------------------------------------------------------------------------


def test_persistent_data_stays_with_what_it_was_made_for(stacks: Stacks) -> None:
    """The next `up` finds it, and so does a registry that was lost; everything else is gone."""
    stack = stacks.stack()
    services = {"db": definition(persist=True, data="db-data"), "app": definition()}
    stacks.up(stack, services)
    data = with_data(stacks, stack, "db")
    (stacks.folder(stack) / "db" / "bin").mkdir()
    done = removal.remove(stacks.state, stack, purge=False)
    assert done.kept == (f"{stack.project}_db-data",)
    assert (done.counts, done.left) == ({"process": 2}, ())
    left = sorted(str(path.relative_to(stacks.folder(stack))) for path in stacks.folder(stack).rglob("*"))
    assert left == ["db", "db/data", "db/data/base", "db/data/base/1", "db/definition.json", "stack.json"]
    (found,) = labelled.find_all(folders.stacks(stacks.state), "embedded", REGISTRY)
    assert found.only_data
    assert (data / "base" / "1").read_text() == "of the user"
    again = removal.remove(stacks.state, stack, purge=False)
    assert (again.counts, again.kept) == ({}, done.kept)
    stacks.up(stack, services)
    assert labelled.find_all(folders.stacks(stacks.state), "embedded", REGISTRY)[0].only_data is False


@pytest.mark.parametrize("damaged", ["stack.json", "db/definition.json"])
def test_one_damaged_file_does_not_cost_persistent_data(stacks: Stacks, damaged: str) -> None:
    """That data is to stay is written down twice."""
    stack = stacks.stack()
    stacks.up(stack, {"db": definition(persist=True, data="db-data")})
    data = with_data(stacks, stack, "db")
    (stacks.folder(stack) / damaged).write_bytes(b"\0")
    assert removal.remove(stacks.state, stack, purge=False).kept == (f"{stack.project}_db-data",)
    assert (data / "base" / "1").exists()


def test_purge_takes_persistent_data(stacks: Stacks) -> None:
    """Whether the processes run or are gone already."""
    stack = stacks.stack()
    stacks.up(stack, {"db": definition(persist=True, data="db-data")})
    with_data(stacks, stack, "db")
    removal.remove(stacks.state, stack, purge=False)
    done = removal.remove(stacks.state, stack, purge=True)
    assert (done.counts, done.kept) == ({"volume": 1}, ())
    assert not stacks.folder(stack).exists()


def test_data_outside_the_state_directory_is_found_without_a_definition(
    stacks: Stacks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a server without rights has in a place of its own goes too, and the folders made for it."""
    monkeypatch.setenv(account.RUN_DIR, str(tmp_path / "run"))
    (tmp_path / "run").mkdir(mode=0o711)
    stack = stacks.stack()
    home = tmp_path / "run" / account._digest(stacks.state) / stack.id
    for name in ("db", "unknown"):
        (home / name / "base").mkdir(parents=True)
    stacks.up(stack, {"db": definition()})
    (stacks.folder(stack) / "db" / records.DEFINITION).unlink()
    assert removal.remove(stacks.state, stack, purge=False).counts == {"process": 1, "volume": 2}
    assert list((tmp_path / "run").iterdir()) == []


# -- how they are asked to end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("persist", [True, False])
def test_data_that_persists_is_left_whole(stacks: Stacks, persist: bool) -> None:
    """Its server is asked to end and given time; of other data nobody will read anything again."""
    stack = stacks.stack()
    note = stacks.state.parent / "ended-in-order"
    script = TRAP.format(what=f"touch {note}; exit")
    stacks.up(stack, {"db": shell(script, persist=persist, data="db-data")})
    with_data(stacks, stack, "db")
    eventually(lambda: "ready" in said(stacks, stack, "db"))
    removal.remove(stacks.state, stack, purge=False)
    assert note.exists() is persist


def test_one_service_is_ended_and_the_others_go_on(stacks: Stacks) -> None:
    """A replaced service takes its children with it and nothing of its neighbours."""
    stack = stacks.stack()
    found = stacks.up(stack, {"app": shell("sleep 1000 & sleep 1000"), "db": definition()})
    eventually(lambda: len(stacks.carriers(stack)) == 4)
    removal.end([found["app"]], intact=lambda _: True)
    assert len(stacks.carriers(stack)) == 1
    assert stacks.records(stack)["db"].state == "running"
    assert stacks.records(stack)["app"].state == "exited"
    removal.end([found["app"]], intact=lambda _: False)  # again


def test_who_does_not_listen_is_killed(stacks: Stacks, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its grace, with all that belongs to it."""
    monkeypatch.setattr(removal, "_GRACE_S", 0.2)
    stack = stacks.stack()
    found = stacks.up(stack, {"app": shell(TRAP.format(what="echo no"))})
    eventually(lambda: "ready" in said(stacks, stack, "app"))
    removal.end([found["app"]], intact=lambda _: True)
    assert stacks.carriers(stack) == set()


def test_an_unknown_signal_is_the_ordinary_one(stacks: Stacks) -> None:
    """A damaged definition still ends its process."""
    stack = stacks.stack()
    found = stacks.up(stack, {"app": definition(stop_signal="SIGNONSENSE")})
    removal.end([found["app"]], intact=lambda _: True)
    assert stacks.carriers(stack) == set()


@pytest.mark.parametrize("keep_data", [True, False])
def test_forgetting_a_service(stacks: Stacks, keep_data: bool) -> None:
    """Its files go while others of its keeper's services run on; data only where it is not to be kept."""
    stack = stacks.stack()
    found = stacks.up(stack, {"app": definition(data="app-data"), "db": definition()})
    data = with_data(stacks, stack, "app")
    removal.end([found["app"]], intact=lambda _: keep_data)
    removal.forget(stacks.state, found["app"], keep_data=keep_data)
    assert data.exists() is keep_data
    assert (stacks.folder(stack) / "app").exists() is keep_data
    assert not (stacks.folder(stack) / "app" / records.PROCESS).exists()
    assert stacks.records(stack)["db"].state == "running"


def test_discarding_data_leaves_the_service(stacks: Stacks) -> None:
    """Only the data goes; of data that is not there, nothing."""
    stack = stacks.stack()
    stacks.up(stack, {"app": definition(data="app-data")})
    data = with_data(stacks, stack, "app")
    removal.discard(stacks.state, data)
    removal.discard(stacks.state, data)
    assert not data.exists()
    assert stacks.records(stack)["app"].definition
