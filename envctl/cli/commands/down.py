"""Remove this branch's environment, or those that patterns name.

Its containers, networks, volumes, files and port leases go. Where there is nothing to remove that is fine. Data of
services with `persist: true` is kept unless `--purge` is given.

A PATTERN means every environment of this machine whose name or branch it matches, as in a shell: `*` any characters,
`?` one, `[ab]` one of these. Put it in quotes, or your shell takes it for files. What somebody else uses stays, with
exit code 75, unless `--force` is given.

Examples:
  envctl down
  envctl down --dry-run 'feature/*' shop-old-1a2b3c4d
  envctl down --all
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import click

from envctl import environment, fleet, running
from envctl.cli import output, progress
from envctl.cli.command import ProcessId, command
from envctl.cli.settings import Settings
from envctl.errors import UsageError
from envctl.host.terminal import escape
from envctl.report import EnvironmentReport, Removal, counted

_FORMATS = ("table", "json", "none")


@command(__doc__, formats=_FORMATS, timeout=True)
@click.argument("patterns", nargs=-1, metavar="PATTERN")
@click.option("--all", "everything", is_flag=True, help="Every environment of this machine.")
@click.option("--dry-run", is_flag=True, help="With --all or patterns: name those that would go; change nothing.")
@click.option("--keep-ports", is_flag=True, help="Keep the ports reserved for the next `up`.")
@click.option("--force", is_flag=True, help="Although a test run or another process uses it.")
@click.option("--while-pid", type=ProcessId(), metavar="PID", help="What `up --while-pid` made, if unused.")
@click.option("--purge", is_flag=True, help="Remove the data of `persist: true` services too.")
def command_line(
    settings: Settings,
    *,
    patterns: tuple[str, ...],
    everything: bool,
    dry_run: bool,
    keep_ports: bool,
    force: bool,
    while_pid: int | None,
    purge: bool,
) -> None:
    """Remove it."""
    form = settings.choose_format(_FORMATS)
    _refuse_contradictions(
        settings,
        {"--all": everything, "PATTERN": bool(patterns), "--while-pid": while_pid is not None},
        {"--dry-run": dry_run, "--keep-ports": keep_ports, "--purge": purge},
    )
    if dry_run:
        _show_plan(fleet.select(os.environ, patterns), form, force=force)
        return
    with progress.start(settings) as teller:
        if while_pid is not None:
            removals = running.end_for_process(settings.selection(), while_pid, progress=teller)
        elif everything or patterns:
            removals = fleet.down_all(os.environ, progress=teller, patterns=patterns, force=force)
        else:
            removal = environment.down(
                settings.selection(),
                progress=teller,
                keep_ports=keep_ports,
                purge=purge,
                timeout_s=settings.timeout_s,
                force=force,
            )
    if while_pid is not None or everything or patterns:
        _show_all(removals, form)
    else:
        _show_one(removal, form)


def _refuse_contradictions(settings: Settings, many: Mapping[str, bool], details: Mapping[str, bool]) -> None:
    """A word that means many environments, beside another or one that means a single one, was probably not meant."""
    chosen = [word for word, given in many.items() if given]
    if details["--dry-run"] and chosen not in (["--all"], ["PATTERN"]):
        raise UsageError("--dry-run goes with --all or with patterns", fix=["envctl ls shows all environments"])
    if chosen in ([], ["--while-pid"]):
        return
    single = {
        "--branch": settings.branch is not None,
        "--name": bool(settings.name),
        "--timeout": settings.timeout_s is not None,
        **details,
        "--dry-run": False,
    }
    others = [*chosen[1:], *(word for word, given in single.items() if given)]
    if others:
        raise UsageError(f"{chosen[0]} does not go with {others[0]}", fix=["leave one of them out"])


def _show_plan(found: Sequence[EnvironmentReport], form: str, *, force: bool) -> None:
    if form == "json":
        output.write_json({"environments": [_planned(report) for report in found]})
    elif form == "table" and found:
        output.write("".join(_plan_text(report, force=force) for report in found))
    elif form == "table":
        output.say("nothing to remove")


def _planned(report: EnvironmentReport) -> dict[str, object]:
    whose = report.identity
    return {
        "environment": whose.name,
        "branch": whose.branch,
        "checkout": whose.checkout,
        "owner": report.user or None,
    }


def _plan_text(report: EnvironmentReport, *, force: bool) -> str:
    fate = "would be removed"
    if report.user and not force:
        fate = f"is in use by {escape(report.user)}, and would stay"
    whose = report.identity
    return f"{whose.name}  {fate}\n  branch {escape(whose.branch)} of {escape(whose.checkout)}\n"


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
