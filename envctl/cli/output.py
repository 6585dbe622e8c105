"""Results to stdout, everything else to stderr; colours and widths only where a person looks."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from stat import S_ISREG
from typing import TextIO

from envctl.errors import CannotWrite

BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"
SERVICE_COLORS = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")


class StdoutClosed(Exception):
    """Nobody reads the result any more (`| head`): no error, and no reason to go on writing."""


def write(text: str) -> None:
    """Write a result to stdout, at once.

    Raises:
        StdoutClosed: Its reader has gone.
        CannotWrite: Stdout is a file on a full disk, for example.
    """
    if sys.stdout is None:  # closed by the caller: `envctl env >&-`
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()
        raise StdoutClosed from None
    except OSError as error:
        discard_stdout()
        raise CannotWrite("cannot write the result to stdout", cause=error.strerror) from error


def write_json(value: object) -> None:
    """Write a result as indented JSON."""
    write(json_text(value, indent=2) + "\n")


def json_text(value: object, *, indent: int | None = None) -> str:
    """JSON no line of which is a command to GitHub's runner: that looks for `##[` anywhere."""
    import json

    return json.dumps(value, indent=indent, default=str).replace("##[", "#\\u0023[")


def discard_stdout() -> None:
    """Send what is still in stdout's buffer nowhere, so that the interpreter's last flush does not fail."""
    _discard(sys.stdout)


def _discard(stream: TextIO) -> None:
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def say(text: str) -> None:
    """Write lines to stderr. Never fails: nobody reading must not stop a clean-up."""
    text = harmless(text)
    say_exactly(text if text.endswith("\n") else text + "\n")


def say_exactly(text: str) -> None:
    """Write to stderr as it is. Never fails."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        _discard(sys.stderr)


def harmless(text: str) -> str:
    """`text` as a job's log may show it: GitHub's runner takes no line of it for a command."""
    if ci_system() != "github":
        return text
    from envctl.plan.ci.commands import harmless as without_commands

    return without_commands(text)


def ci_system() -> str | None:
    """The CI system that shows what we write to stderr, "github" or "gitlab"; None for others and outside of CI."""
    if "GITHUB_ACTIONS" not in os.environ and "GITLAB_CI" not in os.environ:
        return None
    from envctl.host.ci import detect

    found = detect(os.environ)
    known = found is not None and found.name in {"github", "gitlab"} and not is_terminal(sys.stderr)
    return found.name if found and known else None


def prepare() -> None:
    """Results are UTF-8 whatever the locale; what cannot be encoded passes as the bytes it came from."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(encoding="utf-8", errors="surrogateescape")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person looks at `stream`."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def is_file(stream: TextIO | None) -> bool:
    """Whether `stream` was redirected into a file."""
    try:
        return stream is not None and S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def colors(stream: TextIO | None, *, no_color: bool) -> bool:
    """Whether to colour what goes to `stream`, after https://no-color.org."""
    wanted = not no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and is_terminal(stream)


def paint(text: str, code: str, *, on: bool) -> str:
    """`text` in a colour of this file, where `on`."""
    return f"\x1b[{code}m{text}\x1b[0m" if on and text else text


def unicode_terminal() -> bool:
    """Whether symbols beyond ASCII can be expected to show, by the locale's variables in their order of precedence."""
    environ = os.environ
    # In the C locale Python sets LC_CTYPE to this by itself (PEP 538), which says nothing about the terminal.
    ctype = environ.get("LC_CTYPE", "").removeprefix("C.UTF-8")
    chosen = environ.get("LC_ALL") or ctype or environ.get("LANG") or ""
    return "utf" in chosen.lower() and environ.get("TERM") != "dumb"


def columns(stream: TextIO | None) -> int | None:
    """Width of the terminal behind `stream`, or None where there is none."""
    if stream is None or not is_terminal(stream):
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None
