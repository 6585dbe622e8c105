"""Write a commented envctl.yaml for this repository.

It is filled from what is there: a Compose file, package.json, pyproject.toml. The schema for editors is written too.

Examples:
  envctl init
  envctl init --stdout
  envctl init --force
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click

from envctl.cli import output
from envctl.cli.command import command
from envctl.cli.settings import Settings, current_folder
from envctl.errors import WouldOverwrite
from envctl.host.files import cannot_write, write_atomic
from envctl.host.terminal import escape

_FORMATS = ("text", "json")
_READABLE = 0o644  # the files are part of the repository


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
        _refuse_overwriting(root, files)
    for name, text in files.items():
        _write(root / name, text)
    paths = [str(root / name) for name in files]
    if form == "json":
        output.write_json({"written": paths})
    else:
        output.write("".join(f"wrote {escape(path)}\n" for path in paths))
        output.say("next: read it, then `envctl up`")


def _refuse_overwriting(root: Path, files: Mapping[str, str]) -> None:
    in_the_way = [name for name in files if os.path.lexists(root / name)]
    if in_the_way:
        names = " and ".join(in_the_way)
        raise WouldOverwrite(
            f"{names} {'exists' if len(in_the_way) == 1 else 'exist'} already in {root}",
            fix=["envctl init --force replaces it", "envctl init --stdout prints what would be written"],
            subject={"path": str(root / in_the_way[0])},
            state="nothing was written",
        )


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    write_atomic(path, text, _READABLE)
