"""Processes being started: in order, side by side, and what is said when it fails."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kept_services import eventually
from local_server import free_port

from envctl import kinds
from envctl.engines.local import folders, records, tree
from envctl.engines.local.deaths import Deaths
from envctl.engines.local.launch import Launch
from envctl.engines.local.starting import Starting
from envctl.errors import EngineFailed, EnvctlError, PortTaken, ServiceExited, StateDamaged
from envctl.host import account, clock
from envctl.model import Death, ServiceState, Stack
from envctl.report import Initiator

LISTEN = "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); s.accept()"


class Stage:
    """A state directory with one stack; everything it starts is ended."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.stack = Stack("0123456789ab", "shop-main", "embedded", "x", credentials={"db": {"password": "s3cret"}})
        self.root = folders.stack(state, self.stack.id)
        self.started: list[str] = []
        self.errors: list[BaseException] = []
        self.deaths: list[Death] = []
        self.phases: list[tuple[str, str]] = []
        self.hub = Deaths()
        self.launches: list[Launch] = []

    def starting(self, name: str, *command: str, environ: Mapping[str, str] = os.environ, **changes: Any) -> Starting:
        """A service; by default a program of the repository."""
        definition = {
            "arguments": list(command),
            "environment": {},
            "inherits": True,
            "depends_on": [],
            "ports": {},
            "data": None,
            "labels": {"dev.envctl.kind": "generic"},
            **changes,
        }
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        records.write_definition(folder, definition)
        return Starting.of(self.state, self.stack, folder, definition, environ)

    def launch(self, *starts: Starting, lock_fd: int = -1) -> Launch:
        """Start them."""
        launch = Launch(starts, self.hub, Initiator(lock_fd, self.started.append, self.errors.append, self))
        self.launches.append(launch)
        return launch

    def phase(self, service: str, phase: str, detail: str = "") -> None:
        self.phases.append((service, phase))

    def note(self, text: str) -> None:
        raise AssertionError(text)

    def record(self, name: str) -> records.ProcessRecord:
        return records.read(self.root / name)

    def said(self, name: str) -> list[str]:
        path = self.root / name / "log"
        return [line.partition(" ")[2] for line in path.read_text().splitlines()] if path.exists() else []

    def end(self) -> None:
        for launch in self.launches:
            launch.cancel()
        assert tree.end([tree.Stop(record, 9) for record in records.read_all(self.root).values()]) == []


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    threads, descriptors = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    yield stage
    stage.end()
    assert threading.active_count() == threads
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


# -- going well --------------------------------------------------------------------------------------------------------


def test_services_are_started(stage: Stage) -> None:
    """`wait` returns when all run; each was told and goes through its phases."""
    launch = stage.launch(*(stage.starting(name, "sleep", "100") for name in "abc"))
    launch.wait()
    assert sorted(stage.started) == ["a", "b", "c"]
    assert [phase for service, phase in stage.phases if service == "a"] == ["creating", "starting", "waiting"]
    assert {stage.record(name).state for name in "abc"} == {ServiceState.RUNNING}
    assert len({stage.record(name).keeper for name in "abc"}) == 1


def test_nothing_to_start(stage: Stage) -> None:
    """A start of nothing is over at once and needs no keeper."""
    launch = stage.launch()
    launch.ready("other")
    launch.wait()
    launch.cancel()


def test_program_of_the_repository(stage: Stage, tmp_path: Path) -> None:
    """It gets the caller's variables, its own over them, its folder, and what marks it as the environment's."""
    environ = {"PATH": os.environ["PATH"], "KEEP": "1", "PORT": "x", "ENVCTL_PROCESS": "another"}
    own = {"PORT": "8080", "URL": "redis://:EnvctlSecretENVCTL_SECRET_DB_PASSWORDMarker@h"}
    command = ("sh", "-c", 'echo "$KEEP $PORT $URL $PWD"; pwd; echo $ENVCTL_PROCESS; sleep 100')
    stage.launch(stage.starting("a", *command, environ=environ, environment=own, cwd=str(tmp_path))).wait()
    eventually(lambda: len(stage.said("a")) == 3)
    assert stage.said("a") == [f"1 8080 redis://:s3cret@h {tmp_path}", str(tmp_path), stage.record("a").cookie]


def test_program_of_a_kind(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its data is prepared first; it gets few variables; data folder and secrets take the place of their markers."""
    seen: list[Any] = []

    def prepare(*arguments: Any) -> None:
        seen.extend(arguments)
        arguments[2].mkdir(parents=True)

    monkeypatch.setattr(kinds, "native", {"db": SimpleNamespace(prepare=prepare)}.get)
    start = stage.starting(
        "db",
        *("sh", "-c", "echo $HOME $SECRET $DIR; cat; pwd; exec sleep 100", "@data@"),
        environ={"PATH": os.environ["PATH"], "HOME": "/home/x", "SECRET": "no", "LC_ALL": "C.UTF-8"},
        environment={"DIR": "@data@"},
        stdin="password EnvctlSecretENVCTL_SECRET_DB_PASSWORDMarker\n",
        inherits=False,
        data="db-data",
        labels={"dev.envctl.kind": "db"},
    )
    assert "s3cret" not in repr(start)
    stage.launch(start).wait()
    data = str(stage.root / "db/data")
    eventually(lambda: len(stage.said("db")) == 3)
    assert stage.said("db") == [f"/home/x {data}", "password s3cret", data]
    assert seen[1:] == [stage.root / "db", Path(data), {"password": "s3cret"}, None]
    assert start.arguments[-1] == data


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts programs as another user")
def test_program_that_is_not_to_be_root(stage: Stage, tmp_path: Path) -> None:
    """As root it runs as a user without rights, where that user may be, without root's home."""
    start = stage.starting("a", "sh", "-c", "id -u; echo $HOME; sleep 100", inherits=False, unprivileged=True)
    stage.launch(start).wait()
    eventually(lambda: len(stage.said("a")) == 2)
    expected = account.unprivileged()
    assert expected is not None
    assert stage.said("a") == [str(expected[0]), ""]


def test_dependants_wait(stage: Stage) -> None:
    """A service is started when everything it depends on was reported ready, whoever runs that."""
    launch = stage.launch(
        stage.starting("api", "sleep", "100", depends_on=["db", "container"]), stage.starting("db", "sleep", "100")
    )
    eventually(lambda: stage.started == ["db"])
    launch.ready("db")
    assert stage.started == ["db"]
    launch.ready("container")
    eventually(lambda: stage.started == ["db", "api"])
    launch.wait()


def test_nobody_waits_for_ever(stage: Stage) -> None:
    """Who waits for the whole start will report nothing more: the rest is started."""
    launch = stage.launch(stage.starting("api", "sleep", "100", depends_on=["silent"]))
    launch.wait()
    assert stage.started == ["api"]


def test_preparing_goes_side_by_side(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Services are prepared at the same time, also those that wait for others."""
    both = threading.Barrier(2, timeout=10)
    monkeypatch.setattr(Starting, "prepare", lambda _: both.wait())
    stage.launch(stage.starting("a", "sleep", "100"), stage.starting("b", "sleep", "100", depends_on=["a"])).wait()


def test_keepers_lock(stage: Stage, tmp_path: Path) -> None:
    """The keeper has let go of the lock soon after everything was started."""
    import fcntl

    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stage.launch(stage.starting("a", "sleep", "100"), lock_fd=lock.fileno()).wait()

    def is_free() -> bool:
        with (tmp_path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    eventually(is_free)


# -- going wrong -------------------------------------------------------------------------------------------------------


def failure(stage: Stage, launch: Launch) -> BaseException:
    """What `wait` raises, which is what `failed` was told."""
    with pytest.raises(EnvctlError) as caught:
        launch.wait()
    assert stage.errors == [caught.value]
    return caught.value


def test_missing_program(stage: Stage) -> None:
    """The error names service, program, folder and PATH."""
    error = failure(
        stage, stage.launch(stage.starting("api", "no-such-program", "x", environ={"PATH": "/a:/b"}, cwd="/"))
    )
    assert isinstance(error, ServiceExited)
    assert '"api"' in error.message
    assert "no-such-program" in error.message
    assert error.evidence == ("folder: /", "PATH: /a:/b")
    assert error.fix
    assert stage.started == []


@pytest.mark.parametrize(
    ("content", "mode", "word"),
    [
        (b"\x7fELF\x02\x01\x01" + bytes(60), 0o700, "architecture"),
        (b"#!/bin/sh\n", 0o600, "may not run"),
        (b"#!/no/such/interpreter\n", 0o700, "interpreter"),
    ],
)
def test_program_that_cannot_run(stage: Stage, tmp_path: Path, content: bytes, mode: int, word: str) -> None:
    """Wrong architecture, missing rights, missing interpreter: each is told apart."""
    program = tmp_path / "program"
    program.write_bytes(content)
    program.chmod(mode)
    error = failure(stage, stage.launch(stage.starting("api", str(program))))
    assert isinstance(error, ServiceExited)
    assert word in (error.cause or "")


def test_missing_folder(stage: Stage, tmp_path: Path) -> None:
    """A folder that is not there is named."""
    error = failure(stage, stage.launch(stage.starting("api", "true", cwd=str(tmp_path / "away"))))
    assert isinstance(error, ServiceExited)
    assert str(tmp_path / "away") in (error.cause or "")


def test_failed_preparation(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be prepared is not started, and nothing that has not been started yet is."""
    problem = StateDamaged("no data")

    def prepare(start: Starting) -> None:
        if start.name == "db":
            raise problem

    monkeypatch.setattr(Starting, "prepare", prepare)
    launch = stage.launch(
        stage.starting("db", "sleep", "100"), stage.starting("api", "sleep", "100", depends_on=["db"])
    )
    assert failure(stage, launch) is problem
    launch.cancel()
    assert stage.started == []
    assert stage.record("api").process is None


def test_keeper_that_cannot_be_started(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an interpreter nothing can be started, which is said at once."""
    monkeypatch.setattr(sys, "executable", "/no/python")
    with pytest.raises(EngineFailed) as caught:
        stage.launch(stage.starting("a", "sleep", "100"))
    assert "/no/python" in (caught.value.cause or "")


def test_interpreter_that_is_none(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the keeper's interpreter says before it fails is quoted."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'no Python here' >&2; exit 1\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    error = failure(stage, stage.launch(stage.starting("a", "sleep", "100", depends_on=["b"])))
    assert isinstance(error, EngineFailed)
    assert error.evidence == ("no Python here",)


def test_keeper_killed_meanwhile(stage: Stage) -> None:
    """Without its keeper a start has failed, though the program runs."""
    stage.launch(stage.starting("a", "sleep", "100"), stage.starting("b", "sleep", "100", depends_on=["a"]))
    eventually(lambda: stage.started == ["a"])
    keeper = stage.record("a").keeper
    assert keeper is not None
    os.kill(keeper.pid, signal.SIGKILL)
    eventually(lambda: stage.errors)
    assert isinstance(stage.errors[0], EngineFailed)


def test_end_is_told(stage: Stage) -> None:
    """A service that ends while it is waited for is a death, with its story."""
    with stage.hub.watch([], stage.deaths.append):
        launch = stage.launch(stage.starting("a", "sh", "-c", "echo broken; exit 3"))
        eventually(lambda: stage.deaths)
        launch.wait()
    assert (stage.deaths[0].service, stage.deaths[0].exit_code) == ("a", 3)
    assert stage.deaths[0].log_tail == ("broken",)
    assert stage.errors == []


def test_end_after_the_start_is_told(stage: Stage) -> None:
    """The keeper is listened to until nobody watches any more."""
    with stage.hub.watch([], stage.deaths.append):
        stage.launch(stage.starting("a", "sleep", "100")).wait()
        os.kill(stage.record("a").process.pid, signal.SIGKILL)  # type: ignore[union-attr]  # it is there
        eventually(lambda: stage.deaths)
    assert stage.deaths[0].exit_code == 137


# -- ports -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def squatter() -> Iterator[Callable[[str], int]]:
    """Takes a port on an address."""
    held: list[socket.socket] = []

    def take(address: str) -> int:
        port = free_port()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        held.append(socket.create_server((address, port), family=family))
        return port

    yield take
    for one in held:
        one.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - what another program does
def test_port_that_somebody_else_took(stage: Stage, squatter: Callable[[str], int], address: str) -> None:
    """A service that ends for it is no death: the conductor is told the port, and chooses another."""
    port = squatter(address)
    with stage.hub.watch([], stage.deaths.append):
        stage.launch(stage.starting("a", sys.executable, "-c", LISTEN, str(port), ports={"80": port}))
        eventually(lambda: stage.errors)
    error = stage.errors[0]
    assert isinstance(error, PortTaken)
    assert error.port == port
    assert "in use" in error.text
    assert stage.deaths == []


def test_port_of_its_own_child(stage: Stage) -> None:
    """A descendant that went to the background and has the port is no squatter: it is ended, and the end is a death."""
    port = free_port()
    script = f'setsid {sys.executable} -c "{LISTEN}; import time; time.sleep(100)" {port} & sleep 0.3; exit 1'
    with stage.hub.watch([], stage.deaths.append):
        stage.launch(stage.starting("a", "sh", "-c", script, ports={"80": port}))
        eventually(lambda: stage.deaths or stage.errors)
    assert stage.errors == []
    assert stage.deaths[0].exit_code == 1


# -- being given up ----------------------------------------------------------------------------------------------------


def test_cancel(stage: Stage) -> None:
    """Nothing is started after it; what was started is there to be removed; again does nothing."""
    launch = stage.launch(stage.starting("a", "sleep", "100"), stage.starting("b", "sleep", "100", depends_on=["x"]))
    eventually(lambda: stage.started == ["a"])
    launch.cancel()
    launch.cancel()
    launch.ready("x")
    assert stage.record("a").state is ServiceState.RUNNING
    assert stage.record("b").process is None
    assert stage.errors == []


def test_cancel_at_once(stage: Stage) -> None:
    """Whatever was asked of the keeper is written down when `cancel` returns, so that it can be removed."""
    for number in range(10):
        launch = stage.launch(*(stage.starting(f"s{number}{name}", "sleep", "100") for name in "ab"))
        launch.cancel()
        before = {name: record.process for name, record in records.read_all(stage.root).items()}
        keeper = launch._keeping
        assert keeper is not None
        began_s = clock.monotonic_s()
        while clock.monotonic_s() - began_s < 0.02:
            assert {name: record.process for name, record in records.read_all(stage.root).items()} == before


def test_keeper_of_nothing_ends(stage: Stage) -> None:
    """A launch that is cancelled before anything was started leaves no keeper."""
    launch = stage.launch(stage.starting("a", "sleep", "100", depends_on=["x"]))
    launch.cancel()
    assert launch._keeping is not None
    assert not Path(f"/proc/{launch._keeping.pid}").exists()
