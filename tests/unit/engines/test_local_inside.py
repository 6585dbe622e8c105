"""Programs run beside a service's process, as its own would be."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import process_table
import pytest
from local_stacks import Stacks, definition, eventually, is_running, stacks_in

from envctl.engines.local import inside, labelled, records, removal
from envctl.errors import StateDamaged
from envctl.host import clock

SECRET = "EnvctlSecretENVCTL_SECRET_POSTGRES_PASSWORDMarker"  # as in a definition
PARENT = """
import signal, sys
from pathlib import Path
from envctl.engines.local import inside
from envctl.errors import Interrupted
from envctl.host.signals import interruptible
try:
    with interruptible():
        code = inside.execute(Path(sys.argv[1]), sys.argv[2:], {"PATH": "/usr/bin:/bin"}, stdin=True)
        print("code", code, flush=True)
except Interrupted as interrupted:
    print("interrupted", interrupted.signal_number, flush=True)
"""


@pytest.fixture
def stacks(tmp_path: Path) -> Iterator[Stacks]:
    with stacks_in(tmp_path) as made:
        yield made


@pytest.fixture
def folder(stacks: Stacks) -> Path:
    """A service that runs."""
    stack = stacks.stack()
    stacks.up(stack, {"app": definition()})
    return stacks.folder(stack) / "app"


def run(folder: Path, *command: str, limit_s: float = 10.0, **environ: str) -> tuple[int, str]:
    return inside.run(folder, command, {"PATH": "/usr/bin:/bin", **environ}, limit_s)


def variables(output: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in output.splitlines() if "=" in line)


# -- what a program gets ---------------------------------------------------------------------------------------------


def test_a_program_has_the_variables_of_the_service(stacks: Stacks) -> None:
    """Its own, with passwords and data folder filled in, and what its clients need; it belongs to the service."""
    stack = stacks.stack()
    own = {"URL": f"redis://:{SECRET}@127.0.0.1/", "DIR": "@data@/x", "A": "own"}
    service = definition(environment=own, client={"PGHOST": "127.0.0.1"}, data="app-data")
    (stacks.folder(stack) / "app" / "data").mkdir(parents=True)
    record = stacks.up(stack, {"app": service})["app"]
    code, output = run(record.folder, "env", A="caller", HOME="/home/me", FOREIGN="yes")
    seen = variables(output)
    assert code == 0
    assert (seen["URL"], seen["A"]) == ("redis://:secret-of-postgres@127.0.0.1/", "own")
    assert seen["DIR"] == str(record.folder / "data" / "x")
    assert (seen["PGHOST"], seen["FOREIGN"]) == ("127.0.0.1", "yes")
    assert seen[records.COOKIE_VARIABLE] == record.cookie


def test_what_inherits_nothing_sees_only_what_its_own_processes_see(stacks: Stacks) -> None:
    """The caller's PGSSLMODE is not to change what a program says of the service."""
    stack = stacks.stack()
    record = stacks.up(stack, {"app": definition(inherits=False)})["app"]
    environ = {"HOME": "/home/me", "LC_ALL": "C", "TZ": "UTC", "PGSSLMODE": "require", "TERM": "xterm"}
    seen = variables(run(record.folder, "env", **environ)[1])
    assert {"HOME", "LC_ALL", "TZ", "PATH"} <= seen.keys()
    assert not {"PGSSLMODE", "TERM"} & seen.keys()


def test_the_services_own_programs_come_first(stacks: Stacks, tmp_path: Path) -> None:
    """Those of its folder, those beside its server, then the caller's."""
    stack = stacks.stack()
    server = tmp_path / "server" / "bin"
    record = stacks.up(stack, {"app": definition(paths={"server": f"{server}/server", "tool": f"{server}/tool"})})[
        "app"
    ]
    for place, names in ((record.folder / "bin", ["one"]), (server, ["one", "two"]), (tmp_path, ["two", "three"])):
        place.mkdir(parents=True, exist_ok=True)
        for name in names:
            (place / name).write_text(f"#!/bin/sh\necho {place}\n")
            (place / name).chmod(0o755)
    for name, place in (("one", record.folder / "bin"), ("two", server), ("three", tmp_path)):
        assert run(record.folder, name, PATH=f"{tmp_path}:/usr/bin:/bin") == (0, f"{place}\n")


def test_it_runs_where_the_service_runs(stacks: Stacks, tmp_path: Path) -> None:
    """A repository's program has its folder; a server's tools have the service's, whatever the caller's is."""
    stack = stacks.stack()
    found = stacks.up(stack, {"app": definition(cwd=str(tmp_path)), "db": definition(cwd=None)})
    assert run(found["app"].folder, "pwd") == (0, f"{tmp_path}\n")
    assert run(found["db"].folder, "pwd") == (0, f"{found['db'].folder}\n")
    assert variables(run(found["db"].folder, "env", PWD="/other")[1])["PWD"] == str(found["db"].folder)


def test_lost_passwords_are_an_error_that_says_so(stacks: Stacks) -> None:
    """No program runs with a marker in the place of a password."""
    stack = stacks.stack()
    record = stacks.up(stack, {"app": definition(environment={"URL": SECRET})})["app"]
    (stacks.folder(stack) / labelled.FILE).unlink()
    with pytest.raises(StateDamaged, match='passwords that service "app" uses'):
        run(record.folder, "env")


# -- running and waiting ---------------------------------------------------------------------------------------------


def test_both_streams_and_the_exit_code_come_back(folder: Path) -> None:
    """In the order they were written; a program that was killed has 128 + signal."""
    assert run(folder, "sh", "-c", "echo out; echo err >&2; exit 3") == (3, "out\nerr\n")
    assert run(folder, "sh", "-c", "kill -9 $$")[0] == 137
    assert run(folder, "printf", r"\377")[1] == "\ufffd"
    assert run(folder, "cat") == (0, "")  # it reads nothing of ours


def test_who_takes_too_long_is_killed_with_its_children(folder: Path, stacks: Stacks) -> None:
    """Nothing of it runs on."""
    before = stacks.carriers(stacks.made[0])
    before_s = clock.monotonic_s()
    with pytest.raises(TimeoutError):
        run(folder, "sh", "-c", "sleep 1000 & sleep 1000", limit_s=0.2)
    assert clock.monotonic_s() - before_s < 2
    eventually(lambda: stacks.carriers(stacks.made[0]) == before)


def test_what_cannot_be_run_has_the_exit_codes_of_a_shell(folder: Path, tmp_path: Path) -> None:
    """127 where it is not found, 126 where it cannot be executed; and the reason in words."""
    plain = tmp_path / "plain"
    plain.write_text("no program")
    assert run(folder, "no-such-program") == (127, 'error: cannot run "no-such-program": not found in PATH\n')
    assert run(folder, "/no/such")[0] == 127
    assert run(folder, str(plain)) == (126, f'error: cannot run "{plain}": permission denied\n')
    plain.chmod(0o755)
    assert run(folder, str(plain)) == (126, f'error: cannot run "{plain}": exec format error\n')
    assert "\x1b" not in run(folder, "bad\x1b[2J")[1]


def test_a_folder_that_is_gone_is_named(stacks: Stacks, tmp_path: Path) -> None:
    """Not the program is blamed when the working directory was removed."""
    stack = stacks.stack()
    gone = tmp_path / "gone"
    gone.mkdir()
    record = stacks.up(stack, {"app": definition(cwd=str(gone))})["app"]
    gone.rmdir()
    assert run(record.folder, "true") == (126, f'error: cannot run "true": its folder {gone} is not there\n')


def test_what_was_started_in_a_service_ends_with_it(folder: Path, stacks: Stacks) -> None:
    """A program left in the background does not outlive the environment."""
    assert run(folder, "sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!")[0] == 0
    (stack,) = stacks.made
    assert len(stacks.carriers(stack)) == 2
    assert removal.remove(stacks.state, stack, purge=False).left == ()
    assert stacks.carriers(stack) == set()


# -- on our streams --------------------------------------------------------------------------------------------------


def child(folder: Path, *command: str, **changes: object) -> subprocess.Popen[bytes]:
    """Somebody who runs a program on his own streams."""
    return subprocess.Popen([sys.executable, "-c", PARENT, str(folder), *command], **changes)  # type: ignore[call-overload,no-any-return]  # options come by name


def test_streams_are_those_of_the_caller(folder: Path) -> None:
    """Input reaches the program, output comes from it unchanged, and the exit code is its own."""
    process = child(folder, "sh", "-c", "cat; exit 4", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = process.communicate(b"\0\xff input\n", timeout=10)
    assert out == b"\0\xff input\ncode 4\n"


def test_a_variable_that_is_passed_wins(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`envctl psql` gives the password so; without standard input there is nothing to read."""
    script = 'echo "$PGPASSWORD"; cat'
    environ = {"PATH": "/usr/bin:/bin", "PGPASSWORD": "caller"}
    code = inside.execute(folder, ["sh", "-c", script], environ, stdin=False, variables={"PGPASSWORD": "given"})
    assert (code, capfd.readouterr().out) == (0, "given\n")


def test_not_found_is_said_on_stderr(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Stdout stays for results."""
    assert inside.execute(folder, ["no-such-program"], {"PATH": "/bin"}, stdin=False) == 127
    assert inside.execute(folder, ["/etc/hostname"], {"PATH": "/bin"}, stdin=False) == 126
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines()[0] == 'error: cannot run "no-such-program": not found in PATH'
    assert len(err.splitlines()) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_for_us_ends_the_program(folder: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Without a terminal nobody else tells it."""
    note = tmp_path / "pid"
    script = f"echo $$ > {note}.new; mv {note}.new {note}; exec sleep 1000"
    process = child(
        folder, "sh", "-c", script, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    )
    eventually(note.exists)
    process.send_signal(number)
    out, _ = process.communicate(timeout=10)
    assert out.decode() == f"interrupted {number.value}\n"
    assert not is_running(int(note.read_text()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_start_does_not_lose_the_program(folder: Path, number: signal.Signals) -> None:
    """It is ended too. The moment, a few µs long, is made by a constructor that sends the signal itself."""
    early = f"""
import os, subprocess
class Early(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        os.kill(os.getpid(), {number.value})
subprocess.Popen = Early
"""
    command = [sys.executable, "-c", early + PARENT, str(folder), "sleep", "1000"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            out, _ = process.communicate(timeout=10)  # its output ends only when the program has ended
        finally:
            os.killpg(process.pid, signal.SIGKILL) if process.returncode is None else None
    assert out.decode() == f"interrupted {number.value}\n"


class Terminal:
    """A terminal in which somebody runs a program inside a service."""

    def __init__(self, folder: Path, *command: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(sys.executable, [sys.executable, "-c", PARENT, str(folder), *command])  # noqa: S606 - the child of a fork
        os.set_blocking(self.fd, False)
        self._seen = ""

    def seen(self) -> str:
        with suppress(OSError):  # there is nothing new, or nobody left to write
            self._seen += os.read(self.fd, 4096).decode()
        return self._seen

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.close(self.fd)
        os.waitpid(self.pid, 0)


@pytest.mark.parametrize("interrupt", [b"\x03", b"\x1c"])
def test_ctrl_c_is_for_the_program_alone(folder: Path, interrupt: bytes) -> None:
    """As psql does, it may give up what it is doing and go on; we wait for what it makes of it."""
    reads = 'read line; echo "read $line"; '
    script = f'trap "echo trapped" INT QUIT; echo "begun $$."; {reads * 2} exit 5'
    terminal = Terminal(folder, "sh", "-c", script)
    try:
        eventually(lambda: re.search(r"begun (\d+)\.", terminal.seen()))
        pid = int(terminal.seen().partition("begun ")[2].partition(".")[0])
        eventually(lambda: process_table.waits(pid))
        terminal.type(interrupt)
        eventually(lambda: "trapped" in terminal.seen())
        terminal.type(b"one\n")
        eventually(lambda: "read one" in terminal.seen() or "read \r" in terminal.seen())
        terminal.type(b"two\n")
        eventually(lambda: "code 5" in terminal.seen())
        assert "interrupted" not in terminal.seen()
    finally:
        terminal.close()


def test_ctrl_c_ends_a_program_that_does_nothing_about_it(folder: Path) -> None:
    """Its exit code is that of a program which was interrupted."""
    terminal = Terminal(folder, "sh", "-c", "echo begun; exec sleep 1000")
    try:
        eventually(lambda: "begun" in terminal.seen())
        assert termios.tcgetattr(terminal.fd)
        terminal.type(b"\x03")
        eventually(lambda: "code 130" in terminal.seen())
    finally:
        terminal.close()


def test_a_terminal_that_closes_ends_the_program(folder: Path, tmp_path: Path) -> None:
    """A window that is closed leaves nothing running."""
    note = tmp_path / "pid"
    terminal = Terminal(folder, "sh", "-c", f"echo $$ > {note}.new; mv {note}.new {note}; exec sleep 1000")
    eventually(note.exists)
    os.close(terminal.fd)
    eventually(lambda: not is_running(int(note.read_text())))
    os.waitpid(terminal.pid, 0)
