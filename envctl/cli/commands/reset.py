"""Put the data of services back to what they were seeded with.

Services go on running, and whoever is connected stays connected. Postgres: the tables that were touched get the rows of
the baseline, and their sequences. Redis: the keys of the environment's database, with their TTLs. A WebSocket server
closes all sessions. Without names, all services that can be reset are.

`--new-baseline` takes what is there now for what later resets go back to: for repositories that migrate by themselves.
`--stdin` stays, resets once for each line read (a line may name services), and prints one JSON line for each when it
is done, an error too. It ends with its input. So test runners of any language reset in milliseconds.

Examples:
  envctl reset postgres redis
  envctl reset --new-baseline
  envctl reset --stdin
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from envctl import environment
from envctl.cli import output, progress
from envctl.cli.cells import pad, width
from envctl.cli.command import command
from envctl.cli.complete import complete_services
from envctl.cli.settings import Settings
from envctl.errors import EnvctlError, Interrupted, UsageError
from envctl.host.terminal import escape

if TYPE_CHECKING:
    from envctl.conductor.data.resetting import Resetting, Taken
    from envctl.model import ResetReport, ResetStrategy

_FORMATS = ("text", "json")
_STRATEGIES = ("auto", "tables", "template")
_DONE = {
    "tables": "{count} table{s} put back",
    "template": "replaced by a copy of its baseline",
    "copy": "{count} key{s} put back",
    "flush": "emptied",
    "sessions": "{count} session{s} closed",
}


@command(__doc__, formats=_FORMATS, timeout=True)
@click.argument("services", metavar="[SERVICE]...", nargs=-1, shell_complete=complete_services)
@click.option(
    "--strategy",
    type=click.Choice(["auto", "tables", "template"]),
    help="How, instead of what is configured (Postgres).",
)
@click.option("--new-baseline", is_flag=True, help="Resets go back to what is there now.")
@click.option("--stdin", is_flag=True, help="Stay, and reset once for each line of stdin.")
def command_line(
    settings: Settings, services: tuple[str, ...], *, strategy: ResetStrategy | None, new_baseline: bool, stdin: bool
) -> None:
    """Do it."""
    form = settings.choose_format(_FORMATS)
    if new_baseline and (stdin or strategy):
        raise UsageError("--new-baseline goes with neither --stdin nor --strategy")
    if stdin and services:
        raise UsageError("with --stdin, each line names its own services")
    with (
        progress.start(settings) as teller,
        environment.resetting(settings.selection(), progress=teller, timeout_s=settings.timeout_s) as resetting,
    ):
        if stdin:
            _each_line(resetting, strategy)
        elif new_baseline:
            _show_taken(resetting.take(services), form)
        else:
            _show(resetting.reset(services, strategy=strategy), form)


def _each_line(resetting: Resetting, strategy: ResetStrategy | None) -> None:
    """An error is told in its line, and the next one is read."""
    from envctl.cli.failure import json_text

    while sys.stdin is not None and (line := sys.stdin.readline()):
        try:
            answer = output.json_text(_told(resetting.reset(line.split(), strategy=strategy)))
        except Interrupted:
            raise
        except EnvctlError as error:
            answer = json_text(error)
        output.write(answer + "\n")


def _told(reports: Sequence[ResetReport]) -> dict[str, object]:
    return {"reset": [report._replace(duration_ms=round(report.duration_ms, 3))._asdict() for report in reports]}


def _show(reports: Sequence[ResetReport], form: str) -> None:
    if form == "json":
        output.write_json(_told(reports))
        return
    rows = [(report.service, _said(report), report.duration_ms) for report in reports]
    _write_rows(rows)


def _show_taken(taken: Sequence[Taken], form: str) -> None:
    if form == "json":
        told = [one._replace(duration_ms=round(one.duration_ms, 3))._asdict() for one in taken]
        output.write_json({"baseline": told})
        return
    _write_rows([(one.service, "what it holds now is the baseline", one.duration_ms) for one in taken])


def _said(report: ResetReport) -> str:
    count = report.changed
    done = _DONE.get(report.strategy, report.strategy).format(count=count, s="" if count == 1 else "s")
    return f"{done} ({escape(report.note)})" if report.note else done


def _write_rows(rows: Sequence[tuple[str, str, float]]) -> None:
    widest = max(width(service) for service, _, _ in rows)
    for service, done, took_ms in rows:
        output.write(f"{pad(service, widest)}  {done} in {took_ms:.1f} ms\n")
