"""Data that one environment's PostgreSQL left is what others start from, each with a password of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from native_service import Service, definition, machine, running
from real_servers import eventually

from envctl.errors import CannotWrite, DataFailed
from envctl.host import account
from envctl.host.copy import open_packed
from envctl.kinds.postgres import native
from envctl.kinds.postgres.clusters import verifier
from envctl.kinds.postgres.clusters.store import known
from envctl.kinds.postgres.probe import attempt
from envctl.model import Connection, Verdict

MAKERS, OURS, CLERKS = "c0ffee00c0ffee00c0ffee00c0ffee00", "decaf000decaf000decaf000decaf000", "clerk-" + "0" * 20
KEY, OTHER = "a" * 32, "b" * 32


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A machine of this module's own."""
    with machine() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENVCTL_CACHE_DIR", str(folder / "cache"))
        patch.setenv(account.RUN_DIR, str(folder / "run"))
        (folder / "state").mkdir(mode=0o700)
        yield folder


@pytest.fixture(scope="module")
def maker(place: Path) -> Service:
    """A service that has made data, and has ended."""
    made = Service(place / "state", "maker", definition(native.find({}, os.environ)))
    prepare(made, MAKERS)
    with serving(made, MAKERS):
        sql(made, MAKERS, "CREATE TABLE items AS SELECT g AS id FROM generate_series(1, 100) g")
        sql(made, MAKERS, "CREATE TABLE large AS SELECT g AS id FROM generate_series(1, 100000) g")
        sql(made, MAKERS, "VACUUM items, large")
        sql(made, MAKERS, f"CREATE ROLE clerk LOGIN PASSWORD '{CLERKS}'")
        sql(made, MAKERS, "CREATE DATABASE shop_baseline TEMPLATE shop STRATEGY file_copy", database="postgres")
    return made


@pytest.fixture(scope="module")
def kept(maker: Service, place: Path) -> Path:
    """The file in which its data is kept."""
    file = place / "kept.data"
    native.pack(maker.definition, maker.data, file, maker.user)
    return file


@pytest.fixture
def service(place: Path, kept: Path) -> Iterator[Service]:
    """One that starts from it, not prepared yet."""
    made = Service(place / "state", "db", definition(native.find({}, os.environ), prepared=prepared(kept)))
    yield made
    shutil.rmtree(made.data, ignore_errors=True)


def prepared(file: Path, key: str = KEY) -> dict[str, str]:
    return {"key": key, "source": str(file)}


def prepare(service: Service, password: str = OURS) -> None:
    native.prepare(service.definition, service.folder, service.data, {"password": password}, service.user)


def lets_in(service: Service, password: str, user: str = "app", database: str = "shop") -> bool:
    port = int(service.definition["client"]["PGPORT"])
    where = Connection("db", "postgres", "127.0.0.1", port, "", user=user, password=password, database=database)
    return attempt(where, 2.0).verdict is Verdict.READY


@contextmanager
def serving(service: Service, password: str = OURS) -> Iterator[subprocess.Popen[bytes]]:
    """The server, once it answers."""
    settings = ("listen_addresses=127.0.0.1", f"port={service.definition['client']['PGPORT']}", "fsync=off")
    words = [word for setting in (*settings, "unix_socket_directories=") for word in ("-c", setting)]
    with running(service, service.definition["paths"]["postgres"], "-D", str(service.data), *words) as process:
        eventually(lambda: process.poll() is not None or lets_in(service, password))
        assert process.poll() is None, (service.folder / "log").read_text()
        yield process
        process.send_signal(signal.SIGINT)
        process.wait(10)


def sql(service: Service, password: str, statement: str, database: str = "shop") -> list[tuple[Any, ...]]:
    reach = {"host": "127.0.0.1", "port": service.definition["client"]["PGPORT"], "user": "app", "dbname": database}
    with psycopg.connect(**reach, password=password, autocommit=True) as link:
        cursor = link.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def packed_names(file: Path) -> tuple[list[str], dict[str, Any]]:
    with file.open("rb") as stream:
        packed = open_packed(stream.fileno())
        return [entry.path for entry in packed.files], packed.meta


# -- what comes back ---------------------------------------------------------------------------------------------------


def test_what_was_kept_comes_back_with_a_password_of_its_own(service: Service) -> None:
    """All databases and roles are there; the environment's password lets in, the maker's does not any more."""
    prepare(service)

    with serving(service):
        assert not lets_in(service, MAKERS)
        assert lets_in(service, CLERKS, user="clerk")
        for database in ("shop", "shop_baseline"):
            assert sql(service, OURS, "SELECT sum(id) FROM items", database) == [(5050,)]


def test_what_is_kept(kept: Path) -> None:
    """No mark, lock or past is kept, and of the maps that a server makes again only those of large tables."""
    names, meta = packed_names(kept)
    assert not {"envctl.json", "postmaster.pid", "postmaster.opts"} & set(names)
    assert len([name for name in names if name.startswith("pg_wal/0")]) == 1
    assert len([name for name in names if name.endswith("_vm")]) == 2  # of `large` in both databases
    assert meta["password"] is not None
    assert (kept.stat().st_mode & 0o777, kept.stat().st_size < 30_000_000) == (0o600, True)


def test_equal_data_is_stored_once(kept: Path) -> None:
    """A template that is a copy of its database takes no room of its own."""
    with kept.open("rb") as stream:
        packed = open_packed(stream.fileno())
        assert os.fstat(stream.fileno()).st_size < 0.6 * packed.size_bytes


@pytest.mark.parametrize("statement", ["VACUUM FULL pg_authid", "ALTER ROLE app CREATEDB"])
def test_a_password_that_stands_elsewhere(service: Service, place: Path, statement: str) -> None:
    """Where the maker's password is not found, or found twice, the server itself sets ours."""
    prepare(service, MAKERS)
    with serving(service, MAKERS):
        sql(service, MAKERS, statement)
    again = Service(service.state, "again", definition(native.find({}, os.environ)))
    file = place / "moved.data"
    native.pack(service.definition, service.data, file, service.user)
    assert packed_names(file)[1] == {"password": None}
    again.definition["prepared"] = prepared(file)
    try:
        prepare(again)
        with serving(again):
            assert not lets_in(again, MAKERS)
    finally:
        shutil.rmtree(again.data, ignore_errors=True)


def test_a_slot_finds_what_it_has_not_read(service: Service, place: Path) -> None:
    """The past is kept where somebody still is to read from it."""
    prepare(service)
    with serving(service):
        sql(service, OURS, "SELECT pg_create_physical_replication_slot('reader', true)")
        sql(service, OURS, "CREATE TABLE unread ()")
    native.pack(service.definition, service.data, place / "slot.data", service.user)
    names = {name for name in packed_names(place / "slot.data")[0] if name.startswith("pg_wal/0")}
    assert names >= {path.relative_to(service.data).as_posix() for path in service.data.glob("pg_wal/0*")}


# -- what is there already ---------------------------------------------------------------------------------------------


def test_data_that_is_there_is_used(service: Service, kept: Path) -> None:
    """A later start keeps what the environment has written; other prepared data takes its place, but never if kept."""
    prepare(service)
    (service.data / "written").touch()
    prepare(service, MAKERS)
    assert (service.data / "written").exists()
    found = known(service.data, service.user, durable=False)
    assert found is not None
    assert (verifier.fits(found.verifier, MAKERS), found.prepared) == (True, KEY)

    service.definition |= {"prepared": prepared(kept, OTHER), "persist": True}
    prepare(service)
    assert (service.data / "written").exists()

    service.definition["persist"] = False
    service.definition["prepared"] = prepared(kept)  # the mark has OTHER now
    prepare(service)
    assert not (service.data / "written").exists()


_PROCESS = """
import os, sys
sys.path[:0] = {path!r}
from native_service import Service, definition
from envctl.kinds.postgres import native
more = dict(prepared={prepared!r})
service = Service(__import__("pathlib").Path({state!r}), "db", definition(native.find({{}}, os.environ), **more))
native.prepare(service.definition, service.folder, service.data, {{"password": {password!r}}}, service.user)
"""


@pytest.mark.parametrize("file", ["PG_VERSION", "global", "pg_wal", "envctl.json"])
def test_killed_in_the_middle(service: Service, file: str) -> None:
    """What a killed preparation made is either whole or made again."""
    support = [str(Path(__file__).parents[2] / "support")]
    given = service.definition["prepared"]
    text = _PROCESS.format(path=support, state=str(service.state), password=MAKERS, prepared=given)
    with subprocess.Popen([sys.executable, "-c", text]) as killed:
        eventually(lambda: (service.data / file).exists() or killed.poll() is not None, pause_s=0.0005)
        killed.kill()

    prepare(service)

    with serving(service):
        assert sql(service, OURS, "SELECT sum(id) FROM items", "shop_baseline") == [(5050,)]
    assert {entry.name for entry in service.data.parent.iterdir()} <= {"db", "maker"}


# -- what cannot be used -----------------------------------------------------------------------------------------------


def _damaged(kept: Path, how: str) -> Path:
    """A file that is not what was kept."""
    file = kept.with_name(how)
    if how == "a link":
        file.symlink_to(kept)
    elif how != "missing":
        shutil.copyfile(kept, file)
    if how == "cut off":
        os.truncate(file, kept.stat().st_size // 2)
    elif how == "empty":
        os.truncate(file, 0)
    elif how == "another password":
        with file.open("r+b") as stream:
            packed = open_packed(stream.fileno())
            at = next(entry.offset for entry in packed.files if entry.path == verifier.AUTHID)
            stream.seek(at + packed.meta["password"][0])
            stream.write(b"?")
    return file


@pytest.mark.provokes("DATA_FAILED")
@pytest.mark.parametrize("how", ["missing", "a link", "cut off", "empty", "another password"])
def test_a_file_that_is_not_what_was_kept(service: Service, kept: Path, how: str) -> None:
    """The error names it and the command that removes it; nothing half made is left."""
    file = _damaged(kept, how)
    service.definition["prepared"] = prepared(file)
    try:
        with pytest.raises(DataFailed) as caught:
            prepare(service)
    finally:
        file.unlink(missing_ok=True)
    assert f"envctl snapshot rm {KEY}" in caught.value.fix[0]
    assert str(file) in str(caught.value.cause)
    assert not service.data.exists()


@pytest.mark.provokes("DATA_FAILED")
def test_a_server_that_was_killed_is_not_kept(service: Service, place: Path) -> None:
    """Data that would have to be recovered is not whole."""
    prepare(service)
    with serving(service) as server:
        server.kill()
        server.wait(10)
    with pytest.raises(DataFailed) as caught:
        native.pack(service.definition, service.data, place / "none.data", service.user)
    assert "orderly" in str(caught.value.cause)
    assert not (place / "none.data").exists()


@pytest.mark.provokes("DATA_FAILED")
def test_data_that_is_elsewhere_is_not_kept(service: Service, place: Path) -> None:
    """A tablespace is a link to another place, which would be shared by all that start from it."""
    prepare(service)
    (service.data / "pg_tblspc/16400").symlink_to(place)
    with pytest.raises(DataFailed) as caught:
        native.pack(service.definition, service.data, place / "none.data", service.user)
    assert "pg_tblspc/16400" in str(caught.value.cause)
    assert [entry.name for entry in place.iterdir() if "none.data" in entry.name] == []


@pytest.mark.provokes("CANNOT_WRITE")
def test_no_place_to_keep_it(maker: Service, place: Path) -> None:
    """The error says where it was to go."""
    (place / "file").touch()
    with pytest.raises(CannotWrite, match=r"file/none\.data"):
        native.pack(maker.definition, maker.data, place / "file/none.data", maker.user)
