"""What every engine must keep, while an environment runs: a user cannot tell from it where services run."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import process_table
import psycopg
import pytest
from harness import Project, eventually
from redis import AuthenticationError, Redis
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

CONFIG = """
services:
  postgres: {}
  redis: {environment: {COLOUR: red}}
  websocket: {}
"""
NAMES = {
    *(f"ENVCTL_{name}" for name in ("ENV", "PROJECT", "BRANCH", "ENGINE")),
    *(f"POSTGRES_{name}" for name in ("HOST", "PORT", "URL", "USER", "PASSWORD", "DB")),
    *(f"REDIS_{name}" for name in ("HOST", "PORT", "URL", "PASSWORD", "DB")),
    *(f"WEBSOCKET_{name}" for name in ("HOST", "PORT", "URL", "TOKEN", "HTTP_URL")),
    *("DATABASE_URL", "PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "WS_URL", "WS_TOKEN"),
}
SERVICE = {
    **dict.fromkeys(("kind", "state", "host", "url", "password"), "str"),
    "port": "int",
    "ready_ms": "int",
}
REPORT = {
    **dict.fromkeys(("environment", "project", "branch", "engine", "state", "created_at"), "str"),
    "expires_at": "NoneType",
    "services": {
        "postgres": {**SERVICE, "user": "str", "database": "str"},
        "redis": {**SERVICE, "database": "str"},
        "websocket": {**SERVICE, "path": "str"},
    },
    "variables": dict.fromkeys(NAMES, "str"),
    "timings_ms": dict.fromkeys(("plan", "start", "total"), "int"),
}


def shape(value: Any) -> Any:
    """Keys and types of a JSON value."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    return [shape(part) for part in value] if isinstance(value, list) else type(value).__name__


@dataclass(frozen=True)
class Shop:
    """An environment of the three default services that the tests below only look at."""

    project: Project
    report: dict[str, Any]

    @property
    def env(self) -> dict[str, str]:
        """Its variables."""
        variables: dict[str, str] = self.report["variables"]
        return variables

    def ask(self, *arguments: str) -> Any:
        """The JSON a command prints."""
        return self.project.run(*arguments, "--format", "json", check=True).json


@pytest.fixture(scope="module")
def shop(make_shared_project: Callable[..., Project], engine: str) -> Shop:
    """The environment."""
    project = make_shared_project(engine=engine)
    project.config(CONFIG)
    return Shop(project, project.up())


def test_real_clients(shop: Shop) -> None:
    """psycopg, redis-py and websockets work at once with nothing but the variables, and the three work together."""
    with psycopg.connect(shop.env["DATABASE_URL"], autocommit=True) as postgres, connect(shop.env["WS_URL"]) as socket:
        assert postgres.execute("SELECT current_database()").fetchone() == (shop.env["PGDATABASE"],)
        assert postgres.info.server_version // 10000 == 18
        with Redis.from_url(shop.env["REDIS_URL"]) as redis:
            assert redis.ping()
        socket.send(json.dumps({"type": "subscribe", "channel": "orders", "id": 1}))
        assert json.loads(socket.recv(timeout=10))["type"] == "subscribed"
        postgres.execute("""NOTIFY envctl_events, '{"channel": "orders", "data": {"n": 7}}'""")
        assert json.loads(socket.recv(timeout=10))["data"] == {"n": 7}


def test_names_and_shapes(shop: Shop, engine: str) -> None:
    """Variables have the same names and the JSON of `up` the same keys and types on every engine."""
    assert set(shop.env) == NAMES
    assert shape(shop.report) == REPORT
    assert (shop.report["engine"], shop.env["ENVCTL_ENGINE"]) == (engine, engine)
    assert {service["state"] for service in shop.report["services"].values()} == {"ready"}


def test_commands_agree(shop: Shop) -> None:
    """`status`, `env`, `url` and `ls` tell what `up` told."""
    assert shop.ask("status") | {"timings_ms": {}} == shop.report | {"timings_ms": {}}
    assert shop.ask("env") == shop.env
    for name, service in shop.report["services"].items():
        assert shop.project.run("url", name, check=True).out == service["url"] + "\n"
    (listed,) = shop.ask("ls")["environments"]
    assert (listed["environment"], listed["state"]) == (shop.report["environment"], "ready")
    assert listed["checkout"] == str(shop.project.root)


def test_ls_tells_what_data_takes(shop: Shop) -> None:
    """What tests write counts soon after."""

    def size() -> int:
        (listed,) = shop.ask("ls", "--sizes")["environments"]
        return int(listed["disk_bytes"])

    before = size()
    with psycopg.connect(shop.env["DATABASE_URL"], autocommit=True) as postgres:
        postgres.execute("CREATE TABLE heavy AS SELECT repeat(md5(n::text), 30) FROM generate_series(1, 4000) AS n")
        try:
            assert eventually(lambda: size() > before + 3_000_000)
        finally:
            postgres.execute("DROP TABLE heavy")


def test_passwords_are_needed(shop: Shop) -> None:
    """No service lets anybody in without this environment's password."""
    wrong = shop.env["DATABASE_URL"].replace(shop.env["PGPASSWORD"], "c0ffee" * 4)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)
    with (
        Redis(host=shop.env["REDIS_HOST"], port=int(shop.env["REDIS_PORT"])) as redis,
        pytest.raises(AuthenticationError),
    ):
        redis.ping()
    with pytest.raises(InvalidStatus) as refused, connect(shop.env["WS_URL"].split("?")[0]):
        pass
    assert refused.value.response.status_code in (401, 403)


def test_passwords_are_in_no_argument_list(shop: Shop) -> None:
    """No process of the machine, envctl's own among them, has a password among its arguments."""
    words = [service["password"] for service in shop.report["services"].values()]
    assert [one for one in process_table.processes().values() if any(word in one.command for word in words)] == []


def test_nothing_is_durable(shop: Shop) -> None:
    """Data that will be thrown away is never flushed to a disk."""
    with psycopg.connect(shop.env["DATABASE_URL"]) as postgres:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert postgres.execute(f"SHOW {setting}").fetchone() == ("off",), setting
    with Redis.from_url(shop.env["REDIS_URL"], decode_responses=True) as redis:
        assert redis.config_get("save", "appendonly") == {"save": "", "appendonly": "no"}


def test_only_this_machine_is_served(shop: Shop) -> None:
    """The services' ports are open on 127.0.0.1 alone."""
    wanted = {int(service["port"]) for service in shop.report["services"].values()}
    addresses: dict[int, str] = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        address, port = line.split()[1].split(":")
        if line.split()[3] == "0A" and int(port, 16) in wanted:
            addresses[int(port, 16)] = address
    assert addresses == dict.fromkeys(wanted, "0100007F")


def test_logs(shop: Shop) -> None:
    """`logs` shows what each service said: all of it, its last lines, or what is new."""
    everything = shop.project.run("logs", "redis", check=True).out.splitlines()
    assert any("Ready to accept connections" in line for line in everything)
    assert shop.project.run("logs", "--tail", "1", "redis", check=True).out.splitlines() == everything[-1:]
    assert shop.project.run("logs", "--since", "2020-01-01T00:00:00Z", "redis", check=True).out.splitlines() == (
        everything
    )
    assert shop.project.run("logs", "--since", "0s", "redis", check=True).out == ""
    both = shop.project.run("logs", "--tail", "1", "postgres", "redis", check=True).out.splitlines()
    assert sorted(line.split("|")[0].strip() for line in both) == ["postgres", "redis"]
    assert shop.project.error("logs", "nosuch")["code"] == "NO_SERVICE"


def test_logs_are_followed(shop: Shop) -> None:
    """`logs --follow` shows what a service says from now on, and Ctrl-C ends it."""
    process = shop.project.start("logs", "--follow", "--tail", "0", "postgres")
    word, said = f"said_{shop.project.mark[:8]}", b""
    assert process.stdout is not None
    with psycopg.connect(shop.env["DATABASE_URL"], autocommit=True) as postgres:
        for _ in range(200):  # following begins at a moment we cannot see
            with pytest.raises(psycopg.errors.UndefinedTable):
                postgres.execute(f"SELECT * FROM {word}")
            if eventually(lambda: _readable(process), limit_s=0.1):
                said += os.read(process.stdout.fileno(), 65536)
            if word.encode() in said:
                break
    assert word.encode() in said
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode in (0, 130), err


def _readable(process: subprocess.Popen[str]) -> bool:
    return bool(select.select([process.stdout], [], [], 0)[0])


def test_exec(shop: Shop) -> None:
    """`exec` runs a command with the service's variables, passes its input on, and ends with its exit code."""
    result = shop.project.run("exec", "redis", "--", "sh", "-c", "echo $COLOUR; echo lost >&2; exit 7")
    assert (result.code, result.out, result.err) == (7, "red\n", "lost\n")
    process = shop.project.start("exec", "redis", "--", "sh", "-c", "tr a-z A-Z")
    out, err = process.communicate("hello", timeout=60)
    assert (process.returncode, out, err) == (0, "HELLO", "")
    assert shop.project.run("exec", "redis", "--", "no-such-program").code in (126, 127)
    assert shop.project.run("exec", "nosuch", "--", "true").code == 66


def test_psql_and_redis_cli(shop: Shop) -> None:
    """`psql` and `redis-cli` are logged in, and take arguments and input."""
    assert shop.project.run("psql", "-Atc", "SELECT 6 * 7, current_user", check=True).out == "42|app\n"
    process = shop.project.start("psql", "-At")
    assert process.communicate("SELECT 1;\nSELECT 2;\n", timeout=60) == ("1\n2\n", "")
    assert shop.project.run("psql", "-v", "ON_ERROR_STOP=1", "-c", "SELECT nonsense").code != 0
    shop.project.run("redis-cli", "set", "greeting", "hello world", check=True)
    assert shop.project.run("redis-cli", "get", "greeting", check=True).out == "hello world\n"


def test_second_up_restarts_nothing(shop: Shop) -> None:
    """An `up` of what runs as defined leaves everything as it is and reports the same connections."""
    before = shop.project.instances()
    assert set(before) == {"postgres", "redis", "websocket"}
    assert "nothing to do" in shop.project.run("up", "--dry-run", check=True).out
    again = shop.project.up()
    assert shop.project.instances() == before
    assert again["variables"] == shop.env
    assert "start" not in again["timings_ms"], "nothing was started"


def test_files_are_private(shop: Shop) -> None:
    """Everything in the state directory is for this user alone."""
    for file in (shop.project.state, *shop.project.state.rglob("*")):
        assert file.lstat().st_mode & 0o077 == 0 or file.is_symlink(), file


@pytest.mark.provokes("OTHER_ENGINE")
def test_another_engine_is_refused(shop: Shop, engine: str) -> None:
    """`up` with another engine than the one the environment runs on is refused, and nothing changes."""
    before = shop.project.instances()
    other = {"compose": "embedded", "embedded": "compose"}[engine]
    error = shop.project.error("up", "--engine", other)
    assert (error["code"], error["exit"]) == ("OTHER_ENGINE", 78)
    assert error["subject"] == {"environment": shop.report["environment"], "engine": engine, "asked": other}
    assert shop.project.instances() == before
