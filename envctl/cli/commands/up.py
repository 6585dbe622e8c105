"""Create this branch's environment and wait until it is ready.

What is unchanged and healthy is left alone, so calling it again costs little. A service whose definition changed is
replaced alone. When anything fails, all that was begun is rolled back.

With `--while-pid` it is made for one process and goes with it, however that ends; one that was up already stays.

Examples:
  envctl up
  envctl up --timeout 2m --format json
  envctl up --while-pid $$
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from envctl import environment, running
from envctl.cli import output, progress, up_options
from envctl.cli.cells import table
from envctl.cli.command import ProcessId, command
from envctl.cli.services import address, masked_url, secrets
from envctl.cli.settings import Settings
from envctl.cli.words import took
from envctl.host.log import keep_secret
from envctl.host.terminal import escape
from envctl.report import EnvironmentReport

if TYPE_CHECKING:
    from envctl.model import PullPolicy

_FORMATS = ("table", "json", "none")


@command(__doc__, formats=_FORMATS, timeout=True)
@click.option("--dry-run", is_flag=True, help="Print what would be done and why; change nothing.")
@click.option("--keep-failed", is_flag=True, help="Leave everything in place when it fails, to look at it.")
@up_options.fresh
@up_options.ttl
@click.option("--while-pid", type=ProcessId(), metavar="PID", help="Remove it when this process ends.")
@up_options.pull
def command_line(
    settings: Settings,
    *,
    dry_run: bool,
    keep_failed: bool,
    fresh: bool,
    ttl_s: float | None,
    while_pid: int | None,
    pull: PullPolicy | None,
) -> None:
    """Do it."""
    form = settings.choose_format(_FORMATS)
    selection = replace(settings.selection(), pull=pull)
    if dry_run:
        _show_plan(environment.dry_run(selection), form)
        return
    wishes = environment.Wishes(settings.timeout_s, keep_failed, fresh, ttl_s)
    with progress.start(settings) as teller:
        if while_pid is None:
            report = environment.up(selection, progress=teller, wishes=wishes)
        else:
            report = running.up_for_process(selection, while_pid, progress=teller, wishes=wishes)
    keep_secret(secrets(report))
    if output.ci_system():
        from envctl.cli import ci_output

        ci_output.summary(report)
    _show(report, form, settings)


def _show_plan(plan: str, form: str) -> None:
    if form == "json":
        output.write_json({"plan": plan.splitlines()})
    elif form == "table":
        output.write(plan if plan.endswith("\n") else plan + "\n")


def _show(report: EnvironmentReport, form: str, settings: Settings) -> None:
    if form == "json":
        output.write_json(report.as_dict())
        return
    for change in report.changes:
        output.say(f"  {escape(change)}")
    if form == "none":
        return
    bold = output.colors(sys.stdout, no_color=settings.no_color)
    headline = output.paint(report.identity.name, output.BOLD, on=bold)
    rows = [
        (name, address(service.connection), masked_url(service.connection)) for name, service in report.services.items()
    ]
    lines = table(("SERVICE", "ADDRESS", "URL"), rows, output.columns(sys.stdout)) if rows else ""
    output.write(f"{headline}  {report.state}{_duration(report)}\n\n{lines}")
    if report.session:
        fate = "goes with it" if report.ephemeral else "was up before, and stays"
        output.say(f"\nin use by {escape(str(report.session))}; the environment {fate}")
    output.say('\nnext: eval "$(envctl env --format shell)"')


def _duration(report: EnvironmentReport) -> str:
    total_ms = report.timings_ms.get("total")
    return f"  {took(total_ms / 1000)}" if total_ms is not None else ""
