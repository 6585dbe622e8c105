"""The leak oracle sees each thing that services without containers can leave, and nothing where nothing is left."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import process_table
import pytest
from harness import Project, eventually

Leak = Callable[[Project, ExitStack], str]
_STACK = "0123456789ab"
_WAIT = "import sys; print(flush=True); sys.stdin.read()"
_LISTEN = (
    "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); "
    "sys.stdin.read()"
)
# Its child outlives nothing, but has neither variables nor a folder that would tell whose it is.
_PARENT = (
    "import subprocess, sys; p = subprocess.Popen(['sleep', '600'], env={}, cwd='/'); print(p.pid, flush=True); "
    "sys.stdin.read(); p.kill(); p.wait()"
)


@contextmanager
def _child(program: str, environ: Mapping[str, str], cwd: Path) -> Iterator[tuple[int, str]]:
    """A Python that runs the program until the block ends: its id, and the line it prints."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, env=environ, cwd=cwd, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        yield process.pid, process.stdout.readline().strip()


def _stack_folder(project: Project) -> Path:
    folder = project.state / "stacks" / _STACK
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _by_cookie(project: Project, stack: ExitStack) -> str:
    """What envctl starts without the caller's variables: only the cookie tells whose it is."""
    project.traces.stack_ids.add(_STACK)
    pid, _ = stack.enter_context(_child(_WAIT, {"ENVCTL_PROCESS": f"{_STACK}-1f"}, Path("/")))
    return f"process {pid}:"


def _by_folder(project: Project, stack: ExitStack) -> str:
    """A server that overwrote its variables, as Postgres does: its working folder tells."""
    folder = project.folder / "tmp"
    pid, _ = stack.enter_context(_child(_WAIT, {}, folder))
    return f"process {pid}:"


def _by_parent(project: Project, stack: ExitStack) -> str:
    _, child = stack.enter_context(_child(_PARENT, project.environ, Path("/")))
    return f"process {child}: sleep 600"


def _listener(project: Project, stack: ExitStack) -> str:
    """On a port of any range, if the project had it."""
    _, port = stack.enter_context(_child(_LISTEN, project.environ, Path("/")))
    project.traces.ports.add(int(port))
    return f"listener on port {port}"


def _memory(project: Project, stack: ExitStack) -> str:
    """As a Postgres server that was killed leaves it, which wrote down what it had."""
    libc = ctypes.CDLL(None)
    number = libc.shmget(0, 56, 0o600 | 0o1000)
    assert number >= 0
    stack.callback(libc.shmctl, number, 0, None)
    data = project.traces.run / "0" / _STACK / "postgres"
    data.mkdir(parents=True)
    file = data / "postmaster.pid"
    file.write_text(f"{os.getpid()}\n{data}\n0\n5432\n\n127.0.0.1\n  0  {number}\nready\n")
    project.traces.notice()
    file.unlink()
    for folder in (data, data.parent, data.parent.parent):
        folder.rmdir()
    return f"shared memory {number} "


def _memory_of_a_server(project: Project, stack: ExitStack) -> str:
    """Of a process that was one of the project's services, and wrote nothing down."""
    libc = ctypes.CDLL(None)
    number = libc.shmget(0, 56, 0o600 | 0o1000)
    stack.callback(libc.shmctl, number, 0, None)
    me = process_table.look_at(os.getpid())
    assert me is not None
    file = _stack_folder(project) / "postgres" / "process.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"process": {"pid": me.pid, "start_ticks": me.start_ticks}}))
    project.traces.notice()
    file.unlink()
    file.parent.rmdir()
    file.parent.parent.rmdir()
    return f"shared memory {number} "


def _data(project: Project, stack: ExitStack) -> str:
    (project.traces.run / "abc" / _STACK / "postgres").mkdir(parents=True)
    return f"data abc/{_STACK}/postgres"


def _data_folder(project: Project, stack: ExitStack) -> str:
    (project.traces.run / "abc").mkdir()
    return "data abc"


def _state_folder(project: Project, stack: ExitStack) -> str:
    _stack_folder(project)
    return f"state folder stacks/{_STACK}"


def _state_file(project: Project, stack: ExitStack) -> str:
    folder = _stack_folder(project) / "redis"
    folder.mkdir()
    (folder / "log").touch()
    return f"state file stacks/{_STACK}/redis/log"


LEAKS: dict[str, Leak] = {
    "process by its cookie": _by_cookie,
    "process by its folder": _by_folder,
    "process by its parent": _by_parent,
    "listener": _listener,
    "shared memory": _memory,
    "shared memory of a server": _memory_of_a_server,
    "data": _data,
    "data folder": _data_folder,
    "state folder": _state_folder,
    "state file": _state_file,
}


@pytest.fixture
def leaky(projects_folder: Path) -> Project:
    """A project whose end is not checked by the fixture: the test does that itself."""
    return Project(projects_folder, engine="embedded")


@pytest.mark.parametrize("kind", LEAKS)
def test_each_kind_of_leak_is_reported(leaky: Project, kind: str) -> None:
    """What is left on purpose is reported by its name, and nothing else is; afterwards nothing is."""
    with ExitStack() as stack:
        told = LEAKS[kind](leaky, stack)
        found = eventually(lambda: leaky.leaks(limit_s=0))
        assert any(line.startswith(told) for line in found), found
        # A listener is a process too, and so is a parent.
        assert len(found) <= (2 if kind in ("listener", "process by its parent") else 1), found
    if not kind.startswith(("data", "state")):
        leaky.assert_nothing_left()


def test_nothing_is_reported_where_nothing_is_left(leaky: Project) -> None:
    """A project that only looked around is clean, and so is one whose programs were copied for another user."""
    leaky.run("ls", check=True)
    (leaky.traces.run / "programs" / "abc").mkdir(parents=True)
    assert leaky.leaks(limit_s=0) == []


def test_others_are_no_leak(leaky: Project) -> None:
    """Processes and memory of other projects, and a former port somebody else has, are not reported."""
    leaky.traces.stack_ids.add(_STACK)
    other = {"ENVCTL_PROCESS": "ba9876543210-1f", "ENVCTL_TEST_MARK": "another"}
    libc = ctypes.CDLL(None)
    number = libc.shmget(0, 56, 0o600 | 0o1000)
    leaky.traces.servers[os.getpid()] = 1  # had our id, before us
    try:
        with _child(_LISTEN, other, Path("/")) as (_, port):
            leaky.traces.ports.add(int(port))
            assert leaky.leaks(limit_s=0) == []
    finally:
        libc.shmctl(number, 0, None)


def test_memory_that_is_older_than_its_maker_is_no_leak(leaky: Project) -> None:
    """Where somebody's memory is left, and its maker is gone, a server of ours may have that maker's id."""
    made = "import ctypes; print(ctypes.CDLL(None).shmget(0, 56, 0o1600))"
    with subprocess.Popen([sys.executable, "-c", made], stdout=subprocess.PIPE, text=True) as maker:
        number = int(maker.communicate()[0])
    try:
        leaky.traces.servers[maker.pid] = 1
        assert [line for line in leaky.leaks(limit_s=0) if line.startswith(f"shared memory {number}")]
        leaky.traces.servers[maker.pid] = 2**40
        assert leaky.leaks(limit_s=0) == []
    finally:
        ctypes.CDLL(None).shmctl(number, 0, None)


def test_only_a_hot_journal_is_a_leak(leaky: Project) -> None:
    """SQLite takes nothing back by a journal without a header, which a `kill -9` may leave."""
    leaky.run("ls", check=True)
    journal = leaky.state / "registry.db-journal"
    for content in (b"", bytes(512)):
        journal.write_bytes(content)
        assert leaky.leaks(limit_s=0) == []
    journal.write_bytes(bytes.fromhex("d9d505f920a163d7"))
    assert "state file registry.db-journal" in leaky.leaks(limit_s=0)
    journal.unlink()


def test_close_ends_and_removes(leaky: Project) -> None:
    """What envctl's own commands do not remove is reported by the teardown, and then ended all the same."""
    leaky.config("services: {redis: {}}\n")
    leaky.up()
    with subprocess.Popen(["sleep", "600"], env={"ENVCTL_TEST_MARK": leaky.mark}, cwd="/") as process:
        (leaky.traces.run / "abc").mkdir()
        left = leaky.close(limit_s=0.2)
        assert process.wait(10) == -9
    assert {line.split()[0] for line in left} == {"process", "data"}, left
    assert leaky.leaks(limit_s=0) == []
