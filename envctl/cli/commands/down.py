"""Remove this branch's environment.

Its containers, networks, volumes, files and port leases go. Where there is nothing to remove that is fine. Data of
services with `persist: true` is kept unless `--purge` is given.

Examples:
  envctl down
  envctl down --keep-ports
  envctl down --all
"""

from __future__ import annotations

import os

import click

from envctl import environment, fleet, running
from envctl.cli import output, progress
from envctl.cli.command import command
from envctl.cli.settings import Settings
from envctl.errors import UsageError
from envctl.host.terminal import escape
from envctl.report import Removal, counted

_FORMATS = ("table", "json", "none")


@command(__doc__, formats=_FORMATS, timeout=True)
@click.option("--all", "everything", is_flag=True, help="Every environment of this machine.")
@click.option("--keep-ports", is_flag=True, help="Keep the ports reserved for the next `up`.")
@click.option("--force", is_flag=True, help="Although a test run or another process uses it.")
@click.option("--while-pid", type=click.IntRange(min=1), metavar="PID", help="What `up --while-pid` made, if unused.")
@click.option("--purge", is_flag=True, help="Remove the data of `persist: true` services too.")
def command_line(
    settings: Settings, *, everything: bool, keep_ports: bool, force: bool, while_pid: int | None, purge: bool
) -> None:
    """Remove it."""
    form = settings.choose_format(_FORMATS)
    if while_pid is not None:
        with progress.start(settings) as teller:
            removals = running.end_for_process(settings.selection(), while_pid, progress=teller)
        _show_all(removals, form)
        return
    if everything:
        _refuse_selection(settings, keep_ports=keep_ports, purge=purge)
        with progress.start(settings) as teller:
            removals = fleet.down_all(os.environ, progress=teller, force=force)
        _show_all(removals, form)
        return
    with progress.start(settings) as teller:
        removal = environment.down(
            settings.selection(),
            progress=teller,
            keep_ports=keep_ports,
            purge=purge,
            timeout_s=settings.timeout_s,
            force=force,
        )
    _show_one(removal, form)


def _refuse_selection(settings: Settings, *, keep_ports: bool, purge: bool) -> None:
    """`--all` beside a word that means one environment was probably not meant."""
    given = {
        "--branch": settings.branch is not None,
        "--name": bool(settings.name),
        "--keep-ports": keep_ports,
        "--purge": purge,
        "--timeout": settings.timeout_s is not None,
    }
    for option, present in given.items():
        if present:
            raise UsageError(f"--all does not go with {option}", fix=["leave one of them out"])


def _show_one(removal: Removal | None, form: str) -> None:
    if form == "json":
        output.write_json(_as_dict(removal) if removal else {"environment": None, "removed": {}, "kept": []})
    elif form == "table" and removal:
        output.write(_text(removal))
    elif form == "table":
        output.say("nothing to remove")


def _show_all(removals: list[Removal], form: str) -> None:
    if form == "json":
        output.write_json({"environments": [_as_dict(removal) for removal in removals]})
    elif form == "table" and removals:
        output.write("".join(map(_text, removals)))
    elif form == "table":
        output.say("nothing to remove")


def _as_dict(removal: Removal) -> dict[str, object]:
    return {"environment": removal.name, "removed": dict(removal.removed), "kept": list(removal.kept)}


def _text(removal: Removal) -> str:
    lines = [f"{removal.name}  removed  {counted(removal.removed) or 'nothing was left of it'}"]
    lines += [f"  kept   {escape(kept)}" for kept in removal.kept]
    return "\n".join(lines) + "\n"
