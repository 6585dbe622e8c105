"""Make databases beside the environment's own, and remove them.

For a worker or a test, in any language. `create` prints the URL of a new database: a copy of the seeded baseline where
there is one, else of what the environment's own database holds now. `reset` puts databases that were made so back to
what they held then, `drop` removes them, `ls` lists them; no others are touched. What is made in `envctl run`, and
left, is removed later.

With `--service` of a Redis it is a logical database of that one, with the seeded keys or none, known by its name or its
number.

`reset --stdin` reads a name, or a service and a name, per line until its input ends, and prints one JSON line for each:
so a test runner that keeps it running gets a clean database in milliseconds.

Examples:
  eval "$(envctl db create --format shell)"
  envctl db create --replace --service redis worker3
  envctl db reset worker3
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from envctl.cli import output
from envctl.cli.command import command
from envctl.cli.complete import complete_services
from envctl.cli.settings import Settings
from envctl.errors import EnvctlError, Interrupted, UsageError
from envctl.plan import formats

if TYPE_CHECKING:
    from envctl.conductor.data.lending import Listed, Resetting
    from envctl.model import ResetReport

_FORMATS = ("text", *(form for form in formats.FORMATS if form != "table"))
_WHICH = "Which Postgres or Redis, or `redis` for the first one; the first Postgres else."
_VERBS = ("create", "reset", "drop", "ls")


@command(__doc__, formats=_FORMATS)
@click.argument("verb", metavar="create|reset|drop|ls", shell_complete=lambda *_: list(_VERBS))
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--service", metavar="NAME", shell_complete=complete_services, help=_WHICH)
@click.option("--replace", is_flag=True, help="create: in the place of one of that name that was made so.")
@click.option("--stdin", is_flag=True, help="reset: names come from stdin.")
def command_line(
    settings: Settings, verb: str, names: tuple[str, ...], *, service: str | None, replace: bool, stdin: bool
) -> None:
    """Do it."""
    if verb not in _VERBS:
        from envctl.cli.words import did_you_mean

        fix = [*did_you_mean(verb, _VERBS), f"envctl db {'|'.join(_VERBS)}"]
        raise UsageError(f"envctl db cannot {verb!r}", fix=fix)
    form = settings.choose_format(_FORMATS)
    if verb == "create":
        _create(settings, form, names, service, replace=replace)
    elif verb == "reset":
        _reset(settings, form, names, service, stdin=stdin)
    elif verb == "drop":
        _drop(settings, form, names, service)
    else:
        _list(settings, form, names, service)


def _create(settings: Settings, form: str, names: Sequence[str], service: str | None, *, replace: bool) -> None:
    from envctl.conductor.data import lending

    if len(names) > 1:
        raise UsageError("one database at a time", fix=["envctl db create NAME"])
    selection = settings.selection()
    made = lending.create(selection, names[0] if names else None, service=service, replace=replace)
    if form == "text":
        output.write(made.url + "\n")
        return
    variables = lending.variables(selection, {made.service: made})
    if form == "json":
        known: dict[str, object] = {"database": made.database, "service": made.service, "kind": made.kind}
        known |= {"host": made.host, "port": made.port}
        known |= {"url": made.url, "user": made.user, "password": made.password}
        output.write_json(known | {"variables": variables})
    else:
        output.write(formats.render(variables, form))  # type: ignore[arg-type]  # click has checked it


def _reset(settings: Settings, form: str, names: Sequence[str], service: str | None, *, stdin: bool) -> None:
    from envctl.conductor.data import lending

    if bool(names) == stdin:
        raise UsageError("which database?", fix=["envctl db reset NAME", "or --stdin, and a name per line"])
    with lending.Resetting(settings.selection(), service=service) as resetting:
        if stdin:
            _reset_each(resetting)
            return
        reports = [(name, resetting.reset(name)) for name in names]
    if form == "json":
        output.write_json({"reset": [_told(name, report) for name, report in reports]})
        return
    for name, report in reports:
        note = f": {report.note}" if report.note else ""
        output.say(f"{name} reset by {report.strategy} in {report.duration_ms:.1f} ms{note}")


def _reset_each(resetting: Resetting) -> None:
    """An error is told in its line, and the next one is read."""
    from envctl.cli.failure import json_text

    while line := sys.stdin.readline():
        service, _, name = line.strip().rpartition(" ")
        try:
            answer = json.dumps(_told(name, resetting.reset(name, service=service.strip() or None)))
        except Interrupted:
            raise
        except EnvctlError as error:
            answer = json_text(error)
        output.write(answer + "\n")
        sys.stdout.flush()


def _told(name: str, report: ResetReport) -> dict[str, object]:
    return {"database": name, **report._asdict()}


def _drop(settings: Settings, form: str, names: Sequence[str], service: str | None) -> None:
    from envctl.conductor.data import lending

    if not names:
        raise UsageError("which database?", fix=["envctl db drop NAME", "envctl db ls shows those there are"])
    dropped = lending.drop(settings.selection(), names, service=service)
    if form == "json":
        output.write_json({"dropped": dropped})
    for name in names:
        if name not in dropped:
            output.say(f"there is no database {name!r}")


def _list(settings: Settings, form: str, names: Sequence[str], service: str | None) -> None:
    from envctl.cli.cells import table
    from envctl.conductor.data import lending

    if names:
        raise UsageError(f"envctl db ls takes no name, and {names[0]!r} was given")
    found = lending.lent_out(settings.selection(), service=service)
    if form == "json":
        output.write_json({"databases": [one._asdict() for one in found]})
    elif found:
        rows = [_row(one) for one in found]
        head = ("SERVICE", "DATABASE", "SIZE", "CONNECTIONS", "MADE FOR")
        output.write(table(head, rows, output.columns(sys.stdout)))
    else:
        output.say("no databases beside the environment's own; `envctl db create` makes one")


def _row(one: Listed) -> tuple[str, ...]:
    from envctl.cli.words import size
    from envctl.host.terminal import escape

    database = one.name if one.name == one.database else f"{one.name} ({one.database})"
    takes = "" if one.size_bytes is None else size(one.size_bytes)
    connections = "" if one.connections is None else str(one.connections)
    return one.service, database, takes, connections, escape(one.made_for, limit=60)
