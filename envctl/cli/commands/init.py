"""Write a commented envctl.yaml for this repository.

It is filled from what is there: a Compose file, package.json, pyproject.toml. The schema for editors is written too.

Examples:
  envctl init
  envctl init --stdout
  envctl init --force
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from envctl.cli import output, repository_files
from envctl.cli.command import command
from envctl.cli.settings import Settings, current_folder
from envctl.host.terminal import escape

_FORMATS = ("text", "json")
_WAYS_OUT = ["envctl init --force replaces it", "envctl init --stdout prints what would be written"]


@command(__doc__, selects=False, formats=_FORMATS)
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option("--stdout", is_flag=True, help="Print the configuration; write nothing.")
def command_line(settings: Settings, *, force: bool, stdout: bool) -> None:
    """Write it."""
    from envctl.host.config.starter import starter_files
    from envctl.host.git import find_checkout

    form = settings.choose_format(_FORMATS)
    root = Path(find_checkout(current_folder(), os.environ).root)
    files = starter_files(root)
    if stdout:
        output.write("".join(text for name, text in files.items() if name.endswith((".yaml", ".yml"))))
        return
    if not force:
        repository_files.refuse_overwriting(root, list(files), _WAYS_OUT)
    for name, text in files.items():
        repository_files.write(root / name, text)
    paths = [str(root / name) for name in files]
    if form == "json":
        output.write_json({"written": paths})
    else:
        output.write("".join(f"wrote {escape(path)}\n" for path in paths))
        output.say("next: read it, then `envctl up`")
