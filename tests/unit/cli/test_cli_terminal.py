"""What a person sees: the program on a pseudo-terminal, read back by a small terminal. The conductor is substituted."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from cli_process import command, environment
from cli_samples import PASSWORD

PHASES = """
def during(progress):
    for name in ("postgres", "redis"):
        progress.phase(name, "creating")
        progress.phase(name, "waiting", "no answer \\x1b[2J yet " + "\\u65e5\\u672c" * 40)
    progress.note("a sentence\\x07")
    sys.stdin.readline()
    progress.phase("redis", "ready")
    progress.phase("postgres", "failed" if conductor.error else "ready", "exit code 1")
conductor.during_up = during
"""
STUCK = """
def during(progress):
    progress.phase("postgres", "waiting")
    sys.stdin.readline()
conductor.during_up = during
"""


class Terminal:
    """A program on a pseudo-terminal of a given size, with Ctrl-C."""

    def __init__(self, arguments: list[str], environ: Mapping[str, str], columns: int = 80, rows: int = 24) -> None:
        self.master, slave = pty.openpty()
        quiet = termios.tcgetattr(slave)
        quiet[3] &= ~termios.ECHO  # the keys typed below are no part of what the program prints
        termios.tcsetattr(slave, termios.TCSANOW, quiet)
        self.resize(columns, rows)
        self.raw = ""
        self.process = subprocess.Popen(
            arguments,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environ,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def resize(self, columns: int, rows: int) -> None:
        """Change its size."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, found: Callable[[str], object]) -> None:
        """Read until what was read satisfies `found`."""
        while not found(self.raw) and self._read():
            pass
        assert found(self.raw)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.master, text.encode())

    def finish(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        os.close(self.master)
        return self.process.wait(timeout=30)

    def _read(self) -> bool:
        try:
            data = os.read(self.master, 65536)
        except OSError:  # how Linux says that the other end has closed
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)

    def screen(self) -> list[str]:
        """The lines that are to be seen, as a terminal without a bottom shows them."""
        lines, row = [""], 0
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", self.raw):
            if part == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif part.endswith("A") and part.startswith("\x1b"):
                row -= int(part[2:-1])
                assert row >= 0
            elif part == "\x1b[J":
                del lines[row + 1 :]
                lines[row] = ""
            elif part == "\r" or part.startswith("\x1b"):
                fresh = part == "\r"
                lines[row] = lines[row] if not fresh else Overwritten(lines[row])
            else:
                lines[row] = part if isinstance(lines[row], Overwritten) else lines[row] + part
        return [str(line).rstrip() for line in lines]


class Overwritten(str):
    """A line whose start the cursor is at."""


def _up(tmp_path: Path, code: str = PHASES, columns: int = 80, rows: int = 24, **environ: str) -> Terminal:
    """An `up` that has shown its services and is told to go on."""
    terminal = Terminal(command(code, "up"), environment(tmp_path, **environ), columns, rows)
    terminal.read_until(lambda raw: "sentence" in raw and "redis" in raw)
    terminal.type("\n")
    return terminal


def test_the_block_ends_with_each_service_once(tmp_path: Path) -> None:
    """However often it was drawn, what stays is the note, one line per service and the result."""
    terminal = _up(tmp_path)
    assert terminal.finish() == 0
    screen = terminal.screen()
    assert [line.split()[:3] for line in screen if " s" in line and "postgres" in line] == [["✔", "postgres", "ready"]]
    assert sum("a sentence\\x07" in line for line in screen) == 1
    assert any("127.0.0.1:20431" in line for line in screen)
    assert PASSWORD not in terminal.raw


def test_no_line_of_the_block_is_as_wide_as_the_terminal(tmp_path: Path) -> None:
    """Wide characters count double; a line that wraps would shift everything."""
    from envctl.cli.cells import width

    terminal = _up(tmp_path, columns=40)
    assert terminal.finish() == 0
    frames = re.findall(r"\x1b\[36m(.)\x1b\[0m([^\x1b]*)\x1b\[K", terminal.raw)
    assert frames
    assert all(width(mark + text) < 40 for mark, text in frames)


def test_nothing_raw_and_no_hidden_cursor(tmp_path: Path) -> None:
    """A service's control sequences stay out, and there is no state of the terminal to restore."""
    terminal = _up(tmp_path)
    terminal.finish()
    assert "\x1b[2J" not in terminal.raw
    assert "\x07" not in terminal.raw
    assert "\x1b[?" not in terminal.raw


def test_a_failure_stays_visible_above_its_error(tmp_path: Path) -> None:
    """The failed service is marked, and the error follows."""
    terminal = _up(tmp_path, PHASES + "\nconductor.error = EnvctlError('it broke')")
    assert terminal.finish() == 1
    screen = terminal.screen()
    assert any(line.startswith("✘ postgres") for line in screen)
    assert any("it broke" in line for line in screen)


def test_in_the_c_locale_all_symbols_are_ascii(tmp_path: Path) -> None:
    """A terminal that knows no Unicode gets none of ours."""
    terminal = _up(tmp_path, PHASES.replace("\\u65e5\\u672c", "x"), LANG="C")
    assert terminal.finish() == 0
    assert terminal.raw.isascii()
    assert any(line.startswith("+ postgres") for line in terminal.screen())


def test_no_color_means_no_colour(tmp_path: Path) -> None:
    """NO_COLOR in the environment or the option: movement yes, colours no."""
    terminal = _up(tmp_path, NO_COLOR="1")
    terminal.finish()
    assert not re.search(r"\x1b\[[0-9;]*m", terminal.raw)
    terminal = Terminal(command("", "--no-color", "explain", "NOPE"), environment(tmp_path))
    terminal.finish()
    assert "\x1b" not in terminal.raw


def test_a_dumb_terminal_gets_plain_lines(tmp_path: Path) -> None:
    """TERM=dumb cannot move its cursor."""
    terminal = Terminal(command(PHASES, "up"), environment(tmp_path, TERM="dumb"))
    terminal.read_until(lambda raw: "sentence" in raw)
    terminal.type("\n")
    assert terminal.finish() == 0
    assert "\x1b" not in terminal.raw
    assert any(line.split()[:2] == ["postgres", "ready"] for line in terminal.screen())


def test_a_low_terminal_shows_what_fits(tmp_path: Path) -> None:
    """More services than rows: the block stays within the terminal and says how many are hidden."""
    code = """
def during(progress):
    for number in range(30):
        progress.phase(f"service{number}", "waiting")
    progress.note("a sentence about redis")
    sys.stdin.readline()
conductor.during_up = during
"""
    terminal = _up(tmp_path, code, rows=8)
    assert terminal.finish() == 0
    assert "and 24 more" in terminal.raw
    assert all(int(up) < 8 for up in re.findall(r"\x1b\[(\d+)A", terminal.raw))


def test_a_resized_terminal_is_drawn_at_its_new_width(tmp_path: Path) -> None:
    """The next frames fit the new width."""
    terminal = Terminal(command(PHASES, "up"), environment(tmp_path))
    terminal.read_until(lambda raw: "sentence" in raw)
    terminal.resize(30, 24)
    seen = len(terminal.raw)
    terminal.read_until(lambda raw: raw.count("\x1b[J") > raw[:seen].count("\x1b[J") + 2)
    last = terminal.raw.split("\x1b[J")[-2]
    terminal.type("\n")
    assert terminal.finish() == 0
    from envctl.cli.cells import width

    lines = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", last).replace("\r", "").split("\n")
    assert all(width(line) < 30 for line in lines)


def test_ctrl_c_ends_it_with_130_and_leaves_the_terminal_alone(tmp_path: Path) -> None:
    """The key press reaches the program as SIGINT; no thread goes on drawing."""
    terminal = Terminal(command(STUCK, "up"), environment(tmp_path))
    terminal.read_until(lambda raw: "postgres" in raw)
    terminal.type("\x03")
    assert terminal.finish() == 130
    screen = terminal.screen()
    assert any("error[INTERRUPTED]" in line for line in screen)
    assert "postgres" not in screen[-1]


def test_env_on_a_terminal_is_a_table_without_passwords(tmp_path: Path) -> None:
    """A person looks, so passwords are hidden."""
    terminal = Terminal(command("", "env"), environment(tmp_path))
    assert terminal.finish() == 0
    assert "POSTGRES_PASSWORD" in terminal.raw
    assert PASSWORD not in terminal.raw


def test_exec_gets_a_terminal_where_there_is_one(tmp_path: Path) -> None:
    """And none with `--no-tty`."""
    code = """
def execute(selection, service, command, *, tty, stdin, variables=None):
    print("tty", tty)
    return 0
environment.execute = execute
"""
    for option, expected in (("--", "tty True"), ("--no-tty", "tty False")):
        terminal = Terminal(command(code, "exec", option, "postgres", "sh"), environment(tmp_path))
        assert terminal.finish() == 0
        assert expected in terminal.raw


def test_a_star_is_where_we_are(tmp_path: Path) -> None:
    """Before the environments of the current checkout and branch, with any second name, and before no other."""
    code = """
import os
from pathlib import Path
from envctl import fleet
from envctl.host.git import find_checkout
from envctl.plan import naming
here = find_checkout(Path.cwd(), os.environ)
ours = [report(identity=naming.identify(here, "here", label)) for label in ("", "e2e")]
fleet.list_environments = lambda *_, **how: [report(), *ours]
"""
    terminal = Terminal(command(code, "ls"), environment(tmp_path), columns=250)
    assert terminal.finish() == 0
    assert [line[:7] for line in terminal.raw.splitlines()] == ["  NAME ", "  shop-", "* here-", "* here-"]


@pytest.mark.parametrize("arguments", [("ls",), ("status",), ("explain",)])
def test_tables_become_blocks_on_a_narrow_terminal(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """What does not fit side by side stands below each other, uncut."""
    code = """
from envctl import fleet
fleet.list_environments = conductor.list_environments
"""
    wide = Terminal(command(code, *arguments), environment(tmp_path), columns=250)
    narrow = Terminal(command(code, *arguments), environment(tmp_path), columns=30)
    assert (wide.finish(), narrow.finish()) == (0, 0)
    header = {"CODE", "EXIT", "MEANS", "NAME", "BRANCH", "STATE", "AGE", "PORTS", "SERVICE", "ADDRESS"}
    words = [[w for w in re.sub(r"\d+[smh]", "", t.raw).split() if w not in header] for t in (wide, narrow)]
    assert words[0] == words[1]
    assert len(narrow.raw.splitlines()) > len(wide.raw.splitlines())
