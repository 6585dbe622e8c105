"""Print the variables that tests read.

Answered from what was recorded when the environment became ready: no engine is asked. The format is `dotenv` when piped
and `table`, with hidden passwords, on a terminal. A file is replaced as a whole and readable by you alone.

In a GitHub job `--format github` adds the variables to those of the steps that follow, and to the step's outputs; the
passwords are masked in the job's log. With `--output` they are added to that file instead.

Examples:
  eval "$(envctl env --format shell)"
  envctl env --output .env.test
  envctl env --format github
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
from envctl.host import files
from envctl.host.ci import detect
from envctl.plan import formats
from envctl.plan.ci.commands import github_masks


@command(__doc__, formats=formats.FORMATS)
@click.option("-o", "--output", "file", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
def command_line(settings: Settings, file: Path | None) -> None:
    """Print them."""
    to_terminal = file is None and output.is_terminal(sys.stdout)
    form = settings.choose_format(formats.FORMATS, "table" if to_terminal else "dotenv")
    report = environment.recorded(settings.selection())
    text = formats.render(report.variables, form, secrets=secrets(report))  # type: ignore[arg-type]  # click has checked it
    if form == "github":
        # The runner reads commands from both streams. Stdout may be the variables' own way into a file.
        (output.say_exactly if file is None else output.write)(github_masks(secrets(report)))
    targets = [file] if file else _files_of_the_job() if form == "github" else []
    for target in targets:
        files.append(target, text) if form == "github" else files.write_atomic(target.absolute(), text)
    if not targets:
        output.write(text)
        _warn_of_the_log(form)


def _warn_of_the_log(form: str) -> None:
    """A GitLab job cannot have anything masked in its log any more: say so where this has just gone there."""
    if form == "gitlab" and output.ci_system() == "gitlab" and not output.is_file(sys.stdout):
        output.say("warning: this job's log may show the passwords now; --output FILE keeps them out of it")


def _files_of_the_job() -> list[Path]:
    """The files in which a step of a GitHub job leaves variables for later steps, and its outputs."""
    found = detect(os.environ)
    environ = os.environ if found and found.name == "github" and os.environ.get("GITHUB_ENV") else {}
    return [Path(environ[name]) for name in ("GITHUB_ENV", "GITHUB_OUTPUT") if environ.get(name)]
