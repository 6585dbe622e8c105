"""Data that one environment's Redis left is what others start from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis as client
from native_service import Service, definition, machine, running
from real_servers import eventually

from envctl.errors import DataFailed
from envctl.host import account
from envctl.kinds.redis import native, settling
from envctl.kinds.redis.probe import attempt
from envctl.model import Connection, Verdict

PASSWORD = "c0ffee00c0ffee00c0ffee00c0ffee00"
KEY, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine of the test's own."""
    with machine() as folder:
        monkeypatch.setenv("ENVCTL_CACHE_DIR", str(folder / "cache"))
        monkeypatch.setenv(account.RUN_DIR, str(folder / "run"))
        (folder / "state").mkdir(mode=0o700)
        yield folder


def service(place: Path, name: str, **more: object) -> Service:
    made = Service(place / "state", name, definition(native.find({}, os.environ), **more))
    native.prepare(made.definition, made.folder, made.data, {"password": PASSWORD}, made.user)
    return made


def again(made: Service) -> None:
    native.prepare(made.definition, made.folder, made.data, {"password": PASSWORD}, made.user)


@contextmanager
def serving(made: Service) -> Iterator[Connection]:
    """The server, as the embedded engine starts it, once it answers."""
    port = int(made.definition["client"]["REDIS_PORT"])
    reach = Connection("r", "redis", "127.0.0.1", port, f"redis://:{PASSWORD}@127.0.0.1:{port}/0", password=PASSWORD)
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f"dir {made.data}",
        f"requirepass {PASSWORD}",
        'save ""',
        "appendonly no",
    ]
    with running(made, made.definition["paths"]["server"], "-", text="\n".join(lines) + "\n") as process:
        eventually(lambda: process.poll() is not None or attempt(reach, 1.0).verdict is Verdict.READY)
        assert process.poll() is None, (made.folder / "log").read_text()
        yield reach
        process.terminate()
        process.wait(10)


def kept(place: Path, *, expires_ms: int = 0) -> dict[str, str]:
    """Prepared data of 100 keys, of which one may have a TTL."""
    maker, file = service(place, "maker"), place / "kept.data"
    with serving(maker) as reach:
        with client.Redis.from_url(reach.url) as link:
            link.mset({f"key{number}": number for number in range(100)})
            if expires_ms:
                link.pexpire("key0", expires_ms)
        settling.settle(reach)
    (maker.data / "temp-1.rdb").touch()
    native.pack(maker.definition, maker.data, file, maker.user)
    return {"key": KEY, "source": str(file)}


def test_what_was_kept_comes_back(place: Path) -> None:
    """All keys are there at the start, and nothing in them has aged."""
    with serving(service(place, "db", prepared=kept(place))) as reach, client.Redis.from_url(reach.url) as link:
        assert (link.dbsize(), link.get("key99")) == (100, b"99")
        assert not settling.has_aged(reach)


@pytest.mark.parametrize("expires_ms", [1, 100_000])
def test_keys_that_live_for_a_time_are_told(place: Path, expires_ms: int) -> None:
    """A key whose time has gone on, or has run out, since the data was kept is noticed: it must be put back."""
    with serving(service(place, "db", prepared=kept(place, expires_ms=expires_ms))) as reach:
        assert settling.has_aged(reach)


def test_data_that_is_there_is_used(place: Path) -> None:
    """It stays until other prepared data is asked for, or none; what was not made to its end is made again."""
    prepared = kept(place)
    made = service(place, "db", prepared=prepared)
    written = made.data / "written"
    for change, stays in (
        ({}, True),
        ({"prepared": {**prepared, "key": OTHER}, "persist": True}, True),
        ({"prepared": {**prepared, "key": OTHER}, "persist": False}, False),
        ({"prepared": None}, False),
        ({}, True),
    ):
        written.touch()
        made.definition |= change
        again(made)
        assert written.exists() is stays

    made.definition["prepared"] = prepared
    again(made)
    assert {path.name for path in made.data.iterdir()} == {"dump.rdb", "envctl.json"}
    (made.data / "envctl.json").unlink()
    (made.data / "dump.rdb").unlink()
    again(made)
    assert (made.data / "dump.rdb").exists()


@pytest.mark.provokes("DATA_FAILED")
def test_a_file_that_is_not_what_was_kept(place: Path) -> None:
    """The error names the command that removes it, and nothing half made is left."""
    prepared = kept(place)
    os.truncate(prepared["source"], 100)
    with pytest.raises(DataFailed) as caught:
        service(place, "db", prepared=prepared)
    assert f"envctl snapshot rm {KEY}" in caught.value.fix[0]
    assert not Service(place / "state", "db", {}).data.exists()
