"""Prepared snapshots are whole or not there, whoever makes and uses them at once and whatever happens to them."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from envctl.errors import Busy, CannotWrite
from envctl.host import prepared
from envctl.host.prepared import Snapshot, Store

KEY, OTHER = "a" * 32, "b" * 32

# Finds, or makes: as `up` does. Its arguments: key, a folder where each making leaves a file, "linger" to be killed in.
MAKER = """
import os, sys, time
from pathlib import Path
from envctl.host.prepared import Snapshot, Store
key, made, how = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
store = Store(os.environ)
found = store.find(key)
if found is None:
    with store.making(key, "envctl up"):
        found = store.find(key)
        if found is None:
            (made / str(os.getpid())).touch()
            target = store.folder(key) / "db.data"
            target.write_bytes(b"half")
            if how == "linger":
                print("half", flush=True)
                time.sleep(60)
            target.write_bytes(b"whole")
            now = time.time()
            args = (key, "embedded", "here", "shop", "main", now, now, 5, "", {"seed": "1"}, {"db": str(target)})
            store.seal(Snapshot(*args))
print(Path(store.find(key).sources["db"]).read_text())
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"ENVCTL_CACHE_DIR": str(tmp_path / "cache"), "ENVCTL_STATE_DIR": str(tmp_path / "state")}


@pytest.fixture
def store(environ: dict[str, str]) -> Store:
    return Store(environ)


def make(store: Store, key: str = KEY, size_bytes: int = 5, **changes: object) -> Snapshot:
    """A snapshot of a file and an image."""
    with store.making(key, "test"):
        file = store.folder(key) / "db.data"
        file.write_bytes(b"whole")
        sources = {"db": str(file), "cache": "envctl-prepared:1"}
        parts = (key, "embedded", "here", "shop", "main", 1.0, 1.0, size_bytes, "first use", {"seed": "1"}, sources)
        snapshot = Snapshot(*parts)._replace(**changes)
        store.seal(snapshot)
    return snapshot


def use(store: Store, key: str, when_s: float) -> None:
    mark = store.folder(key) / "meta.json"
    os.utime(mark, (when_s, when_s))


def start(environ: dict[str, str], made: Path, how: str = "quick") -> subprocess.Popen[str]:
    words = [sys.executable, "-c", MAKER, KEY, str(made), how]
    return subprocess.Popen(words, env={**os.environ, **environ}, stdout=subprocess.PIPE, text=True)


# -- one ---------------------------------------------------------------------------------------------------------------


def test_what_was_sealed_is_found(store: Store, environ: dict[str, str]) -> None:
    """All that is known of it comes back, in another process too; from then on it counts as just used."""
    made = make(store)
    use(store, KEY, 5.0)

    found = Store(environ).find(KEY)

    assert found is not None
    assert found._replace(used_s=made.used_s) == made
    assert Store(environ).all()[0].used_s > time.time() - 10
    assert store.find(OTHER) is store.find("../" + KEY) is None


def test_nobody_else_can_read_it(store: Store) -> None:
    """Folders and marks are their owner's alone, whatever the umask."""
    before = os.umask(0o777)
    try:
        folder = store.folder(KEY)
    finally:
        os.umask(before)
    make(store)
    assert {stat.S_IMODE(place.stat().st_mode) for place in (folder, folder.parent)} == {0o700}
    assert stat.S_IMODE((folder / "meta.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', "9" * 5000, "[" * 100_000, "\ufeff\x00"])
def test_a_damaged_mark_is_none(store: Store, content: str) -> None:
    """Whatever stands in a mark, it is as if nothing were there, and the next maker begins with an empty folder."""
    make(store)
    mark = store.folder(KEY) / "meta.json"
    mark.write_text(content)
    assert (store.find(KEY), store.all(), store.remove(KEY)) == (None, [], None)
    assert list(store.folder(KEY).iterdir()) == []


@pytest.mark.parametrize("field", ["engine", "created_s", "inputs", "sources", "files", "size_bytes"])
def test_a_mark_of_another_shape_is_none(store: Store, field: str) -> None:
    """A value of another type is damage, not a crash."""
    make(store)
    mark = store.folder(KEY) / "meta.json"
    mark.write_text(json.dumps(json.loads(mark.read_text()) | {field: None}))
    assert (store.find(KEY), store.all()) == (None, [])


def test_other_bytes_are_not_what_was_sealed(store: Store) -> None:
    """A file that is gone, cut off, or changed is found out; one whose time alone differs is whole."""
    make(store)
    file = store.folder(KEY) / "db.data"
    for content, whole in ((b"WHOLE", False), (b"who", False), (b"whole", True)):
        file.write_bytes(content)
        assert (store.find(KEY) is not None) is whole
    file.unlink()
    assert store.find(KEY) is None


def test_a_file_elsewhere_is_refused(store: Store, tmp_path: Path) -> None:
    """Only what lies in the snapshot's own folder can be part of it."""
    with pytest.raises(ValueError, match="is not in"):
        make(store, sources={"db": str(tmp_path / "db.data")})
    with pytest.raises(ValueError, match="not a key"):
        store.folder("../" + KEY)


# -- many --------------------------------------------------------------------------------------------------------------


def test_the_one_to_compare_with(store: Store) -> None:
    """It is the last used one of the same project and engine."""
    make(store, KEY)
    make(store, OTHER)
    make(store, "c" * 32, project="other")
    use(store, KEY, 9.0)
    use(store, OTHER, 5.0)
    newest = store.newest_like("shop", "embedded", "here")
    assert newest is not None
    assert newest.key == KEY
    assert store.newest_like("shop", "compose", "here") is None


def test_what_was_used_longest_ago_goes_first(store: Store) -> None:
    """Only as many go as must, the oldest first, and never the one that is to stay."""
    for number, key in enumerate("abcd"):
        make(store, key, 10)
        use(store, key, float(number))

    assert [one.key for one in store.excess(40, "d")] == []
    assert [one.key for one in store.excess(25, "a")] == ["b", "c"]
    assert [one.key for one in store.excess(0, "a")] == ["b", "c", "d"]
    assert store.remove("b") is not None
    assert [one.key for one in store.all()] == ["d", "c", "a"]


def test_what_is_being_made_is_not_removed(store: Store) -> None:
    """A removal takes the mark; the files of whoever is making it anew stay."""
    make(store)
    with store.making(KEY, "test"):
        file = store.folder(KEY) / "db.data"
        assert store.remove(KEY) is not None
        assert file.exists()
    assert store.find(KEY) is None


def test_16_processes(environ: dict[str, str], tmp_path: Path) -> None:
    """Of all that want the same at once, one makes it, and all use it."""
    makers = [start(environ, tmp_path) for _ in range(16)]
    assert [maker.communicate()[0] for maker in makers] == ["whole\n"] * 16
    assert [maker.returncode for maker in makers] == [0] * 16
    assert sum(file.name.isdigit() for file in tmp_path.iterdir()) == 1


def test_killed_in_the_middle(environ: dict[str, str], store: Store, tmp_path: Path) -> None:
    """What a killed maker left is nothing; the next one, who may have waited for it, makes it."""
    killed = start(environ, tmp_path, "linger")
    assert killed.stdout
    assert killed.stdout.readline() == "half\n"
    waiting = start(environ, tmp_path)
    assert store.find(KEY) is None
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert waiting.communicate()[0] == "whole\n"


def test_what_nobody_will_finish_goes(store: Store) -> None:
    """What killed makers have left goes, be it files or images; what is whole, or being made, stays."""
    make(store)
    old, busy = store.folder("c" * 32), store.folder("d" * 32)
    for folder in (old, busy):
        (folder / "db.data").touch()
    with store.making(busy.name, "test"):
        store.clear()
        assert (old.exists(), busy.exists()) == (False, True)
        assert not store.is_abandoned(busy.name, "envctl-prepared:2")
    assert store.is_abandoned(busy.name, "envctl-prepared:2")
    assert not store.is_abandoned(KEY, "envctl-prepared:1")
    assert store.is_abandoned(KEY, "envctl-prepared:2")
    assert store.find(KEY)


@pytest.mark.provokes("ENVIRONMENT_BUSY")
def test_waiting_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has waited too long is told for whom, and a way to go on without."""
    monkeypatch.setattr(prepared, "_LONGEST_MAKING_S", 0.0)
    with store.making(KEY, "envctl up"), pytest.raises(Busy) as caught, store.making(KEY, "test"):
        pass
    assert str(os.getpid()) in caught.value.evidence[0]
    assert "envctl up --fresh" in caught.value.fix[1]


# -- places ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def blocked(tmp_path: Path) -> Iterator[Path]:
    """A cache folder that cannot be made, also not by root."""
    place = tmp_path / "file"
    place.touch()
    return place / "cache"


def test_without_a_cache_the_state_directory_serves(environ: dict[str, str], blocked: Path, tmp_path: Path) -> None:
    """Where there is no cache, or none that can be used, snapshots are with the state."""
    for cache in ({"ENVCTL_CACHE_DIR": str(blocked)}, {"ENVCTL_CACHE_DIR": ""}):
        store = Store({**environ, **cache})
        make(store)
        assert store.find(KEY) is not None
        assert (tmp_path / "state/prepared" / KEY / "db.data").exists()
        store.remove(KEY)


@pytest.mark.provokes("CANNOT_WRITE")
def test_no_place_at_all(blocked: Path) -> None:
    """The error names the places, and how to do without."""
    with pytest.raises(CannotWrite) as caught:
        Store({"ENVCTL_CACHE_DIR": str(blocked), "ENVCTL_STATE_DIR": str(blocked)}).folder(KEY)
    assert str(blocked / "prepared") in caught.value.evidence


def test_what_others_could_have_written_is_not_used(environ: dict[str, str], tmp_path: Path) -> None:
    """A store in which others may write is left alone: a database runs what its data says."""
    make(Store(environ))
    (tmp_path / "cache/prepared").chmod(0o777)
    store = Store(environ)
    assert (store.find(KEY), store.all()) == (None, [])
    assert store.folder(KEY).parent == tmp_path / "state/prepared"
