"""The registry lost, damaged, too new, or on a bad disk."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from registry_samples import claim, identity, lease

from envctl.errors import CannotWrite, EnvctlError, RegistryNewer, StateDamaged, StateDenied
from envctl.host.registry import Registry, schema
from envctl.model import EnvironmentState


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A registry that has known an environment."""
    path = tmp_path / "state"
    with Registry.open(path) as registry:
        lease(registry, claim(registry))
    return path


def database(state: Path) -> Path:
    return state / "registry.db"


def set_aside(state: Path) -> list[Path]:
    return sorted(path for path in state.iterdir() if ".damaged-" in path.name)


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database\n" * 200)


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def wrong_magic(path: Path) -> None:
    path.write_bytes(b"X" + path.read_bytes()[1:])


def lost_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:8192] = bytes(4096)
    path.write_bytes(data)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").write_text("kept")


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))
    path.symlink_to("elsewhere.db")


def another_program(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")


def missing_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE meta")


@pytest.mark.parametrize("damage", [garbage, truncated, wrong_magic, lost_page, directory, link, another_program])
def test_damage_is_set_aside_and_asks_for_repair(state: Path, damage: Callable[[Path], None]) -> None:
    """Whatever took the registry's place is kept, a new one is made, and it is never silently empty."""
    with Registry.open(state) as registry:
        before = registry.registry_id
    damage(database(state))
    with Registry.open(state, create=False) as registry:  # type: ignore[union-attr]  # it is there
        assert registry.needs_repair
        assert registry.registry_id == before
        assert registry.all() == []
    assert len(set_aside(state)) == 1
    with Registry.open(state) as registry:
        assert registry.needs_repair  # still, until somebody says it was done
        registry.mark_repaired()
        assert not registry.needs_repair
    with Registry.open(state) as registry:
        assert not registry.needs_repair
    assert len(set_aside(state)) == 1


@pytest.mark.parametrize("loss", [Path.unlink, lambda path: os.truncate(path, 0)])
def test_deleted_or_emptied_registry_asks_for_repair(state: Path, loss: Callable[[Path], None]) -> None:
    """A registry that was deleted is told from one that never was."""
    with Registry.open(state) as registry:
        before = registry.registry_id
    loss(database(state))
    with Registry.open(state, create=False) as registry:  # type: ignore[union-attr]  # it is there
        assert registry.needs_repair
        assert registry.registry_id == before
    assert stat.S_IMODE(database(state).stat().st_mode) == 0o600


def test_link_is_not_followed(state: Path) -> None:
    """The file behind a link that took the registry's place stays as it is."""
    link(database(state))
    before = (state / "elsewhere.db").read_bytes()
    with Registry.open(state) as registry:
        claim(registry, "other")
    assert (state / "elsewhere.db").read_bytes() == before


@pytest.mark.provokes("STATE_DAMAGED")
def test_damage_met_in_use_is_an_error_once_and_repaired_by_the_next_command(state: Path) -> None:
    """A command that finds its rows gone stops; it does not go on as if nothing existed."""
    with Registry.open(state) as registry:
        missing_table(database(state))
        with closing(sqlite3.connect(database(state))) as connection:
            connection.execute("DROP TABLE environments")
        with pytest.raises(StateDamaged):
            registry.all()
    with Registry.open(state) as registry:
        assert registry.needs_repair
        claim(registry)


@pytest.mark.parametrize("column", ["details", "credentials"])
def test_row_that_makes_no_sense_is_damage(state: Path, column: str) -> None:
    """Damage that SQLite cannot see, because the file is sound, is found too."""
    with closing(sqlite3.connect(database(state))) as connection:
        table = "environments" if column == "details" else "stacks"
        connection.execute(f"UPDATE {table} SET {column} = '{{not json'")
        connection.commit()
    with Registry.open(state) as registry, pytest.raises(StateDamaged):
        registry.all()
    with Registry.open(state) as registry:
        assert registry.needs_repair


def test_bug_in_a_statement_is_not_taken_for_damage(state: Path) -> None:
    """A sound registry is never set aside for a mistake of ours."""
    with Registry.open(state) as registry:
        with pytest.raises(sqlite3.OperationalError), registry._store.transaction(write=False) as connection:
            connection.execute("SELECT no_such_column FROM environments")
        assert len(registry.all()) == 1
    assert set_aside(state) == []


def test_registry_deleted_under_a_running_process(state: Path) -> None:
    """A process that had it open notices, and writes into the new one, not into the deleted file."""
    with Registry.open(state) as registry:
        database(state).unlink()
        assert registry.find(key=identity().key) is None
        assert registry.needs_repair
        claim(registry, "other")
    with Registry.open(state) as registry:
        assert len(registry.all()) == 1


def test_random_flips_never_crash(state: Path) -> None:
    """Whatever byte changes: an answer, or an error of ours; never a traceback, never another version of the file."""
    sound = database(state).read_bytes()
    dice = random.Random(1)
    for _ in range(60):
        data = bytearray(sound)
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        database(state).write_bytes(data)
        try:
            with Registry.open(state) as registry:
                registry.all()
                lease(registry, claim(registry, "other"))
        except EnvctlError:
            pass
        for path in set_aside(state):
            path.unlink()


def test_id_file_survives_and_comes_back(state: Path) -> None:
    """The id, which marks all that runs, is kept twice; either copy restores the other."""
    with Registry.open(state) as registry:
        before = registry.registry_id
    for content in (None, "garbage", ""):
        (state / "registry-id").unlink()
        if content is not None:
            (state / "registry-id").write_text(content)
        with Registry.open(state) as registry:
            assert registry.registry_id == before
            assert not registry.needs_repair
        assert (state / "registry-id").read_text().strip() == before


def test_new_registries_have_ids_of_their_own(tmp_path: Path) -> None:
    """Two machines, or two users, never take each other's environments for their own."""
    with Registry.open(tmp_path / "a") as one, Registry.open(tmp_path / "b") as other:
        assert len(one.registry_id) == 32
        assert one.registry_id != other.registry_id
        assert not one.needs_repair


def test_newer_registry_is_refused_untouched(state: Path) -> None:
    """An older envctl does not spoil what it does not understand."""
    with closing(sqlite3.connect(database(state))) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    before = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    for create in (True, False):
        with pytest.raises(RegistryNewer) as caught:
            Registry.open(state, create=create)
        assert caught.value.exit == 76
    assert {path: path.read_bytes() for path in state.rglob("*") if path.is_file()} == before


def test_older_registry_is_migrated_and_a_copy_kept(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Upgrading keeps every environment, and the old file in case of doubt. (The next version is made up.)."""
    older = schema.VERSION
    monkeypatch.setattr(schema, "VERSION", older + 1)
    added = {older: "ALTER TABLE environments ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'"}
    monkeypatch.setattr(schema, "MIGRATIONS", {**schema.MIGRATIONS, **added})
    with Registry.open(state) as registry:
        assert len(registry.all()) == 1
        assert not registry.needs_repair
    (copy,) = [path for path in state.iterdir() if f".version-{older}-" in path.name]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    for path, version in ((database(state), older + 1), (copy, older)):
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (version,)
            assert connection.execute("SELECT count(*) FROM environments").fetchone() == (1,)


def test_migration_that_fails_leaves_the_old_version(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration is done whole or not at all. (The next version, and its mistake, are made up.)."""
    with monkeypatch.context() as patch:
        broken = {schema.VERSION: "ALTER TABLE stacks ADD COLUMN x TEXT;\nALTER TABLE no_such_table ADD COLUMN y TEXT"}
        patch.setattr(schema, "MIGRATIONS", {**schema.MIGRATIONS, **broken})
        patch.setattr(schema, "VERSION", schema.VERSION + 1)
        with pytest.raises(StateDamaged):
            Registry.open(state)
    with Registry.open(state) as registry:
        assert len(registry.all()) == 1


def test_state_open_to_others_is_refused_before_reading(state: Path) -> None:
    """Neither `up` nor `env` uses a registry that somebody else could have written."""
    state.chmod(0o755)
    for create in (True, False):
        with pytest.raises(StateDenied):
            Registry.open(state, create=create)


# -- bad disks ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A state directory on a disk of its own, 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(disk)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_full_disk_stops_up_but_not_down(small_disk: Path) -> None:
    """On a full disk nothing new is promised, everything can be read, and everything can be removed."""
    with Registry.open(small_disk) as registry:
        record = claim(registry)
        lease(registry, record)
        fill(small_disk)
        with pytest.raises(CannotWrite) as caught:
            claim(registry, "other")
        assert "full" in (caught.value.cause or "")
        assert len(registry.all()) == 1
        registry.renew(record.identity.name, None)
        registry.mark_removing(record.identity.name)
        registry.set_state(record.identity.name, EnvironmentState.DOWN)
        registry.forget(record.identity.name)
        assert registry.all() == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_full_disk_from_the_start(small_disk: Path) -> None:
    """Where the registry cannot even be made, the error says so, and space is all that is needed."""
    fill(small_disk)
    with pytest.raises(CannotWrite):
        Registry.open(small_disk)
    (small_disk / "filler").unlink()
    with Registry.open(small_disk) as registry:
        claim(registry)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_read_only_disk_can_be_read(small_disk: Path) -> None:
    """`env` and `ls` work on a read-only disk, `up` says why it does not."""
    with Registry.open(small_disk) as registry:
        record = claim(registry)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with Registry.open(small_disk) as registry:
        assert registry.find(key=identity().key) is not None
        registry.renew(record.identity.name, None)
        with pytest.raises(CannotWrite) as caught:
            registry.set_state(record.identity.name, EnvironmentState.READY)
        assert caught.value.cause == "the file system is read-only"
        with pytest.raises(CannotWrite):
            claim(registry, "other")
