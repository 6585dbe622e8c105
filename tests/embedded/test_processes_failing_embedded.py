"""Processes of the repository that do not come up: the reason is told at once, and nothing stays."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from harness import Project, eventually
from repository_server import QUICK, ask, configure, pids, script, server

DAEMON = """
import os, sys, time
print("I go away", flush=True)
if os.fork() == 0:
    os.setsid()
    time.sleep(600)
"""
FLOOD = """
import os, runpy, threading
def flood():
    line = b"x" * 1023 + b"\\n"
    for _ in range(60):  # megabytes
        for _ in range(8):
            os.write(1, line * 128)
    open("flooded", "w").close()
threading.Thread(target=flood, daemon=True).start()
runpy.run_path("server.py")
"""


@pytest.mark.provokes("SERVICE_EXITED")
@pytest.mark.parametrize(("end", "code"), [("sys.exit(0)", 0), ("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 137)])
def test_a_process_that_exits(project: Project, end: str, code: int) -> None:
    """A process that ends fails `up` at once, with its exit code and last lines; nothing stays but its log."""
    said = f"import os, sys; print('one'); print('I am done', file=sys.stderr, flush=True); sys.stdout.flush(); {end}"
    configure(project, {"redis": {}, "bad": script(said, port="auto")})
    result = project.run("up", "--format", "json")
    error = result.error
    assert (result.code, error["code"]) == (80, "SERVICE_EXITED"), result
    assert (error["subject"]["service"], error["subject"]["exit_code"]) == ("bad", code)
    assert "I am done" in "\n".join(error["evidence"])
    assert "rolled back" in error["state"]
    assert result.seconds < 20
    project.assert_nothing_left()
    assert "I am done" in project.run("logs", "bad", check=True).out


@pytest.mark.provokes("SERVICE_EXITED")
def test_an_exception_is_told(project: Project) -> None:
    """A server that ends with an exception is told with it: the last line is the cause."""
    configure(project, {"bad": script("raise RuntimeError('no such table: orders')", port="auto")})
    error = project.run("up", "--format", "json").error
    assert error["code"] == "SERVICE_EXITED"
    assert "RuntimeError: no such table: orders" in error["cause"]
    assert error["subject"]["exit_code"] == 1
    assert "Traceback" in "\n".join(error["evidence"])


@pytest.mark.provokes("SERVICE_NOT_READY")
def test_a_process_that_never_listens(project: Project) -> None:
    """A process that does not listen fails `up` at the deadline, with its last lines, and is ended."""
    quiet = script("import time; print('I think', flush=True); time.sleep(600)", port="auto")
    configure(project, {"bad": quiet}, ready_timeout="1s")
    error = project.error("up")
    assert (error["exit"], error["code"]) == (80, "SERVICE_NOT_READY")
    assert error["subject"]["services"] == ["bad"]
    assert "I think" in "\n".join(error["evidence"])
    assert "connection refused" in "\n".join([str(error["cause"]), *error["evidence"]])
    project.assert_nothing_left()


@pytest.mark.provokes("SERVICE_NOT_READY")
def test_a_process_that_listens_elsewhere(project: Project) -> None:
    """A process that takes no notice of PORT is not taken for ready, and the error says what to do."""
    elsewhere = script("import socket, time; s = socket.create_server(('127.0.0.1', 0)); time.sleep(600)", port="auto")
    configure(project, {"bad": elsewhere}, ready_timeout="1s")
    error = project.error("up")
    assert error["code"] == "SERVICE_NOT_READY"
    assert "in its variable PORT" in error["fix"][0]
    project.assert_nothing_left()


@pytest.mark.provokes("SERVICE_EXITED")
def test_a_process_that_goes_to_the_background(project: Project) -> None:
    """A program that daemonises is told so, and what it left in the background is ended."""
    configure(project, {"bad": script(DAEMON, ready={"log": "never said"})})
    error = project.error("up")
    assert (error["code"], error["subject"]["exit_code"]) == ("SERVICE_EXITED", 0)
    assert "background" in "\n".join([str(error["cause"]), *error["evidence"]])
    project.assert_nothing_left()


def _program(project: Project, content: bytes, mode: int) -> None:
    project.write("program", "", mode=mode).write_bytes(content)
    project.traces.written["program"] = content


@pytest.mark.provokes("SERVICE_EXITED")
@pytest.mark.parametrize(
    ("process", "content", "mode", "words"),
    [
        (["no-such-program"], None, 0, ("no program no-such-program", "PATH")),
        (["./program"], None, 0, ("no file ./program",)),
        (["./program"], b"#!/bin/sh\nexit\n", 0o644, ("chmod +x",)),
        (["./program"], b"#!/no/such/interpreter\n", 0o755, ("interpreter",)),
        (["./program"], b"echo without a first line\n", 0o755, ("#!",)),
        (["./program"], b"\x7fELF\x02\x01\x01" + b"\0" * 60, 0o755, ("architecture",)),
        (["./web"], None, 0, ("./web",)),
        ("no-such-program --flag", None, 0, ("no-such-program", "not found")),
    ],
    ids=["unknown", "no file", "not executable", "no interpreter", "no shebang", "architecture", "folder", "shell"],
)
def test_a_program_that_cannot_be_run(
    project: Project, process: object, content: bytes | None, mode: int, words: tuple[str, ...]
) -> None:
    """What cannot be started is told with the reason and a way out, and nothing stays."""
    if content is not None:
        _program(project, content, mode)
    project.write("web/index.html", "a folder\n")
    configure(project, {"bad": {"process": process, "port": "auto"}})
    error = project.error("up")
    assert (error["exit"], error["code"], error["subject"]["service"]) == (80, "SERVICE_EXITED", "bad")
    text = "\n".join([error["message"], str(error["cause"]), *error["evidence"], *error["fix"]])
    assert [word for word in words if word not in text] == [], text
    assert error["fix"]
    project.assert_nothing_left()


@pytest.mark.provokes("CONFIG_INVALID")
@pytest.mark.parametrize("cwd", ["./missing", "./server.py"])
def test_a_folder_that_is_none(project: Project, cwd: str) -> None:
    """A `cwd` that is not a folder is an error of the configuration, before anything is made."""
    configure(project, {"bad": server(cwd=cwd)})
    error = project.error("up")
    assert (error["exit"], error["code"]) == (65, "CONFIG_INVALID")
    assert cwd in "\n".join(error["evidence"])


@pytest.mark.provokes("UNSAFE_SETTING")
def test_a_folder_outside(project: Project) -> None:
    """A `cwd` outside of the project is refused."""
    configure(project, {"bad": server(cwd="..")})
    assert project.error("up")["code"] == "UNSAFE_SETTING"


@pytest.mark.provokes("PORT_IN_USE")
def test_a_fixed_port_that_somebody_has(project: Project) -> None:
    """A fixed port that another program has is told with that program, and nothing stays."""
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        configure(project, {"redis": {}, "api": server() | {"port": f"{port}:80"}})
        error = project.error("up")
        assert (error["exit"], error["code"], error["subject"]["port"]) == (81, "PORT_IN_USE", port)
        assert str(os.getpid()) in "\n".join([error["message"], str(error["cause"]), *error["evidence"]])
        project.assert_nothing_left()


def test_a_leased_port_that_somebody_took(project: Project) -> None:
    """Where somebody took the port of a server that crashed, `up` gives the server another one."""
    configure(project, {"redis": {}, "api": server()})
    port = int(project.up()["variables"]["API_PORT"])
    project.kill("api")
    with socket.create_server(("127.0.0.1", port)) as squatter:
        report = project.up()
        assert int(report["variables"]["API_PORT"]) != port
        assert ask(report)["environment"]["PORT"] == report["variables"]["API_PORT"]
        assert squatter.fileno() > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("waits", [True, False], ids=["waiting", "spawning"])
def test_an_interrupted_up_leaves_nothing(project: Project, number: signal.Signals, *, waits: bool) -> None:
    """Ctrl-C while `up` waits for a process ends the process and what it has started; nothing stays."""
    spawn = "import subprocess, time\nfor _ in range({}): subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
    code = spawn.format(1 if waits else 50) + "time.sleep(600)"
    configure(project, {"redis": {}, "bad": script(code, port="auto")})
    up = project.start("up")
    assert eventually(lambda: pids(project, "sleep 600"), limit_s=20, every_s=0.02)
    up.send_signal(number)
    _, err = up.communicate(timeout=20)
    assert up.returncode == 128 + number, err
    assert "Traceback" not in err
    project.assert_nothing_left()


@pytest.mark.timeout(60)
def test_a_flood_of_output(project: Project) -> None:
    """A process that writes without end does not hinder `up`; its log stays below its limit, and its keeper small."""
    project.allow_files("flooded")
    configure(project, {"api": server() | {"process": [*QUICK, "-c", FLOOD]}})
    report = project.up()
    assert eventually((project.root / "flooded").exists, limit_s=30)
    folder = project.service_folders()["api"]
    assert sum(file.stat().st_size for file in folder.glob("log*")) <= 20 * 1024**2
    (keeper,) = pids(project, "keeper")
    status = Path(f"/proc/{keeper}/status").read_text()
    peak_kb = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
    assert peak_kb < 40_000
    assert project.run("logs", "api", "--tail", "1", check=True).out.startswith("xxx")
    assert ask(report)["environment"]["PORT"]


def test_a_failed_up_leaves_what_was_there(project: Project) -> None:
    """Where an `up` that adds a process fails, those that ran before still run, and the next `up` finds them."""
    configure(project, {"redis": {}, "api": server()})
    project.up()
    before = project.instances()
    configure(project, {"redis": {}, "api": server(), "bad": script("raise SystemExit(2)")})
    project.error("up")
    assert project.instances() == before
    configure(project, {"redis": {}, "api": server()})
    project.up()
    assert project.instances() == before


def test_what_failed_can_be_kept(project: Project) -> None:
    """`up --keep-failed` leaves everything in place; `logs` and `status` tell of it, and `down` removes it."""
    configure(project, {"redis": {}, "bad": script("print('why it failed'); raise SystemExit(2)")})
    assert project.error("up", "--keep-failed")["code"] == "SERVICE_EXITED"
    assert "redis" in project.instances()
    assert "why it failed" in project.run("logs", "bad", check=True).out
    assert project.run("status").code == 80
    project.run("down", check=True)
    project.assert_nothing_left()


def test_the_program_is_looked_for_in_path(project: Project) -> None:
    """A program is looked for in the caller's PATH, as a shell would do it."""
    project.write("tools/own-server", f"#!/bin/sh\nexec {sys.executable} -I -S server.py found\n", mode=0o755)
    configure(project, {"api": server() | {"process": ["own-server"]}})
    path = f"{project.root}/tools{os.pathsep}{project.environ['PATH']}"
    assert ask(project.up(env={"PATH": path}))["arguments"] == ["found"]
