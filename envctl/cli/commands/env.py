"""Print the variables that tests read.

Answered from what was recorded when the environment became ready: no engine is asked. The format is `dotenv` when piped
and `table`, with hidden passwords, on a terminal. A file is replaced as a whole and readable by you alone; with
`github` it is appended to, as the files of GitHub Actions must be, and the passwords are masked in the job's log.

Examples:
  eval "$(envctl env --format shell)"
  envctl env --output .env.test
  envctl env --format github --output "$GITHUB_ENV"
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from envctl import environment
from envctl.cli import output
from envctl.cli.command import command
from envctl.cli.services import secrets
from envctl.cli.settings import Settings
from envctl.host.files import cannot_write, write_atomic
from envctl.plan import formats


@command(__doc__, formats=formats.FORMATS)
@click.option("-o", "--output", "file", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
def command_line(settings: Settings, file: Path | None) -> None:
    """Print them."""
    to_terminal = file is None and output.is_terminal(sys.stdout)
    form = settings.choose_format(formats.FORMATS, "table" if to_terminal else "dotenv")
    report = environment.recorded(settings.selection())
    text = formats.render(report.variables, form, secrets=secrets(report))  # type: ignore[arg-type]
    if form == "github":
        # The runner reads commands from both streams. Stdout may be the variables' own way into a file.
        (output.say if file is None else output.write)(formats.github_masks(secrets(report)))
    if file is None:
        output.write(text)
    elif form == "github":
        _append(file, text)
    else:
        write_atomic(file.absolute(), text)


def _append(path: Path, text: str) -> None:
    """Add to the file in one write, on a line of its own."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            last = os.pread(fd, 1, size - 1) if size else b"\n"
            file.write((b"" if last == b"\n" else b"\n") + text.encode())
    except OSError as error:
        raise cannot_write(path, error) from error
