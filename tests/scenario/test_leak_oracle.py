"""The leak oracle sees one thing of each kind that was left on purpose, and nothing where nothing was left."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest
from docker_presence import Thing
from harness import Project, eventually
from whole_engine import TEST, WholeEngine, session_folder

Leak = Callable[[Project, ExitStack], str]
_REGISTRY_ID = "feedc0de" * 4


def _labels(project: Project) -> tuple[str, ...]:
    return "--label", f"dev.envctl.registry={_REGISTRY_ID}", "--label", f"dev.envctl.checkout={project.root}"


def _container(project: Project, stack: ExitStack) -> str:
    name = f"leak-{project.mark[:8]}"
    stack.callback(project.docker, "rm", "-fv", name)
    project.docker("create", "--name", name, *_labels(project), "busybox", "true")
    return f"container {name}"


def _network(project: Project, stack: ExitStack) -> str:
    name = f"leak-{project.mark[:8]}"
    # The subnet is given, because other tests may have used up the engine's own pools.
    subnet = f"10.231.{int(project.mark[:2], 16)}.{int(project.mark[2], 16) * 16}/28"
    project.docker("network", "create", "--subnet", subnet, *_labels(project), name)
    stack.callback(project.docker, "network", "rm", name)
    return f"network {name}"


def _volume(project: Project, stack: ExitStack) -> str:
    name = f"leak-{project.mark[:8]}"
    project.docker("volume", "create", *_labels(project), name)
    stack.callback(project.docker, "volume", "rm", name)
    return f"volume {name}"


def _anonymous_volume(project: Project, stack: ExitStack) -> str:
    name = f"leak-{project.mark[:8]}"
    project.docker("run", "--name", name, *_labels(project), "--volume", "/data", "busybox", "true")
    volume = project.docker("inspect", "--format", "{{range .Mounts}}{{.Name}}{{end}}", name)
    project.docker("rm", name)
    stack.callback(project.docker, "volume", "rm", volume)
    return f"volume {volume}"


def _image(project: Project, stack: ExitStack) -> str:
    project.traces.stacks.add(f"envctl-{project.mark[:8]}")
    image = f"envctl-{project.mark[:8]}-web:abc"
    project.docker("tag", "busybox", image)
    stack.callback(project.docker, "image", "rm", image)
    return f"image {image}"


_LISTEN = (
    "import socket,sys; s=socket.create_server(('127.0.0.1', 0)) if sys.argv[1] == '0' else None\n"
    "import random\n"
    "while s is None:\n"
    "    try: s=socket.create_server(('127.0.0.1', random.randint(20000, 29999)))\n"
    "    except OSError: pass\n"
    "print(s.getsockname()[1], flush=True); sys.stdin.read()"
)


def _listener(project: Project, stack: ExitStack) -> str:
    process = stack.enter_context(_child(project.environ, _LISTEN, "1"))
    assert process.stdout is not None
    return f"listener on port {process.stdout.readline().strip()}"


def _process(project: Project, stack: ExitStack) -> str:
    return f"process {stack.enter_context(_child(project.environ, _LISTEN, '0')).pid}"


def _orphan(project: Project, stack: ExitStack) -> str:
    """A process without the mark, as `docker compose` could be after an envctl that emptied its environment."""
    process = _child({"PATH": os.environ["PATH"]}, _LISTEN, "0", str(project.state / "compose.yaml"))
    return f"process {stack.enter_context(process).pid}"


def _state_file(project: Project, stack: ExitStack) -> str:
    (project.state / "lost").touch()
    return "state file lost"


def _environment_file(project: Project, stack: ExitStack) -> str:
    folder = project.state / "environments" / "shop-main-1"
    folder.mkdir(parents=True)
    (folder / "compose.yaml").touch()
    return "state file environments/shop-main-1/compose.yaml"


def _environment_folder(project: Project, stack: ExitStack) -> str:
    (project.state / "environments" / "shop-main-1").mkdir(parents=True)
    return "state folder environments/shop-main-1"


def _temporary_file(project: Project, stack: ExitStack) -> str:
    (project.traces.temporary / "tmpabc").touch()
    return "temporary file tmpabc"


def _new_file(project: Project, stack: ExitStack) -> str:
    (project.root / "core").touch()
    return "project file core is new"


def _changed_file(project: Project, stack: ExitStack) -> str:
    (project.root / "README").write_text("changed")
    return "project file README was changed"


def _row(statement: str, told: str) -> Leak:
    def leak(project: Project, stack: ExitStack) -> str:
        project.run("ls", check=True)
        project.run("status")  # makes the registry
        with closing(sqlite3.connect(project.state / "registry.db")) as connection:
            connection.executescript(_STACK + statement)
        return told

    return leak


_STACK = """INSERT INTO stacks (id, project, engine, endpoint, host, publish_address, created_at)
VALUES ('s1', 'envctl-x', 'compose', 'unix:///nowhere', '127.0.0.1', '127.0.0.1', 0);"""

LEAKS: dict[str, Leak] = {
    "container": _container,
    "network": _network,
    "volume": _volume,
    "anonymous volume": _anonymous_volume,
    "image": _image,
    "listener": _listener,
    "process": _process,
    "orphan": _orphan,
    "state file": _state_file,
    "environment's file": _environment_file,
    "environment's folder": _environment_folder,
    "temporary file": _temporary_file,
    "new project file": _new_file,
    "changed project file": _changed_file,
    "environment row": _row(
        """INSERT INTO environments (name, key, project, branch, checkout, label, state, stack_id, created_at,
        last_used_at, owner_boot_id, owner_pid, owner_start_ticks)
        VALUES ('shop-main-1', 'k', 'shop', 'main', '/x', '', 'ready', 's1', 0, 0, '', 1, 1)""",
        "environment shop-main-1 (ready) in the registry",
    ),
    "stack row": _row("", "stack envctl-x in the registry"),
    "port lease": _row(
        "INSERT INTO port_leases (scope, port, state, stack_id) VALUES ('h', 23456, 'held', 's1')",
        "port lease 23456 in the registry",
    ),
    "subnet lease": _row(
        "INSERT INTO subnet_leases (scope, subnet, state, stack_id) VALUES ('h', '10.9.0.0/28', 'held', 's1')",
        "subnet lease 10.9.0.0/28 in the registry",
    ),
}


@contextmanager
def _child(environ: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe, text=True) as process:
        yield process
        process.kill()


@pytest.fixture
def leaky(projects_folder: object, engine_events: object) -> Project:
    """A project whose end is not checked by the fixture: the test does that itself."""
    return Project(projects_folder, events=engine_events)  # type: ignore[arg-type]  # a test gives what it likes


@pytest.mark.parametrize("kind", LEAKS)
def test_each_kind_of_leak_is_reported(leaky: Project, kind: str) -> None:
    """What is left on purpose is reported, alone and by its name."""
    with ExitStack() as stack:
        told = LEAKS[kind](leaky, stack)
        found = eventually(lambda: leaky.leaks(limit_s=0))
        assert any(line.startswith(told) for line in found), found
        # A listener is a process too, and what a row hangs on is a stack.
        assert len(found) <= (2 if kind == "listener" or kind.endswith(("row", "lease")) else 1), found


def test_nothing_is_reported_where_nothing_is_left(leaky: Project) -> None:
    """A project that only looked around is clean."""
    leaky.run("ls", check=True)
    assert leaky.leaks() == []


def test_a_squatter_of_a_former_port_is_no_leak(leaky: Project) -> None:
    """A port this project once had and somebody else's program has now is not reported."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        leaky.traces.ports.add(other.getsockname()[1])
        assert leaky.leaks(limit_s=0) == []


def test_another_project_s_things_are_no_leak(leaky: Project) -> None:
    """Objects with another project's labels are not reported: tests run side by side."""
    with ExitStack() as stack:
        name = f"other-{leaky.mark[:8]}"
        leaky.docker("volume", "create", "--label", "dev.envctl.registry=other", name)
        stack.callback(leaky.docker, "volume", "rm", name)
        assert leaky.leaks(limit_s=0) == []


def test_the_whole_engine_is_compared(leaky: Project) -> None:
    """What was made since and carries this session's labels is reported at its end, an unnamed volume included."""
    with ExitStack() as stack:
        old = _volume(leaky, stack)
        watch = WholeEngine(str(session_folder()))
        unnamed = _anonymous_volume(leaky, stack)
        named = _network(leaky, stack)
        left = watch.left()
    assert {unnamed, named} <= set(left)
    assert old not in left


def test_things_of_a_test_are_told_from_envctl_s(leaky: Project) -> None:
    """What a test labels as its own is removed by the teardown and is no leak."""
    leaky.docker("volume", "create", "--label", leaky.own_label, f"own-{leaky.mark[:8]}")
    assert leaky.labelled() == []
    assert leaky.close() == []
    assert Thing("volume", f"own-{leaky.mark[:8]}", f"own-{leaky.mark[:8]}", {TEST: leaky.mark}) not in leaky.labelled()


def test_close_reports_and_removes(leaky: Project) -> None:
    """What envctl's own commands do not remove is reported by the teardown, and then removed all the same."""
    name = f"leak-{leaky.mark[:8]}"
    leaky.docker("volume", "create", *_labels(leaky), name)
    assert f"volume {name}" in leaky.close(limit_s=0)
    assert leaky.leaks(limit_s=0) == []
