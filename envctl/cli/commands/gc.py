"""Remove environments that nobody needs any more.

Those that have expired, that were made for a run which has ended, whose branch or checkout is gone, and those that a
killed command has left half made. Never one that is in use. Each is named with its cause.

Examples:
  envctl gc --dry-run
  envctl gc
  envctl gc --format json
"""

from __future__ import annotations

import os

import click

from envctl import fleet
from envctl.cli import output, progress
from envctl.cli.command import command
from envctl.cli.settings import Settings
from envctl.errors import Leftovers
from envctl.host.terminal import escape
from envctl.report import counted

_FORMATS = ("table", "json", "none")


@command(__doc__, selects=False, formats=_FORMATS)
@click.option("--dry-run", is_flag=True, help="Name them and the causes; change nothing.")
def command_line(settings: Settings, *, dry_run: bool) -> int:
    """Remove them."""
    form = settings.choose_format(_FORMATS)
    with progress.start(settings) as teller:
        collected = fleet.collect(os.environ, progress=teller, dry_run=dry_run)
    if form == "json":
        output.write_json({"environments": [_as_dict(one) for one in collected]})
    elif form == "table" and collected:
        output.write("".join(_line(one, dry_run=dry_run) for one in collected))
    elif form == "table":
        output.say("nothing to remove")
    return Leftovers.exit_code if any(one.error for one in collected) else 0


def _as_dict(one: fleet.Collected) -> dict[str, object]:
    return {
        "environment": one.name,
        "cause": one.cause,
        "removed": dict(one.removal.removed) if one.removal else None,
        "error": one.error.as_dict()["error"] if one.error else None,
    }


def _line(one: fleet.Collected, *, dry_run: bool) -> str:
    if dry_run:
        done = "would be removed"
    elif one.error:
        done = f"could not be removed: {escape(one.error.message)}"
    elif one.removal:
        done = f"removed  {counted(one.removal.removed) or 'nothing was left of it'}"
    else:
        done = "is in use after all, and stays"
    return f"{one.name}  {done}\n  because {escape(one.cause)}\n"
