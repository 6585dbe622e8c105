"""Make databases beside the environment's own, for a worker or a test of any language.

`create` prints the URL of a new database: a copy of the seeded baseline where there is one, else of what the
environment's own database holds now. `drop` removes databases that were made so and no others; `ls` lists them. What is
made in `envctl run`, and left, is removed later.

Examples:
  envctl db create
  envctl db create --replace shop_worker3
  eval "$(envctl db create --format shell)"
  envctl db ls
  envctl db drop shop_worker3
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from envctl.cli import output
from envctl.cli.command import command
from envctl.cli.complete import complete_services
from envctl.cli.settings import Settings
from envctl.errors import UsageError
from envctl.plan import formats

_FORMATS = ("text", *(form for form in formats.FORMATS if form != "table"))
_VERBS = ("create", "drop", "ls")


@command(__doc__, formats=_FORMATS)
@click.argument("verb", metavar="create|drop|ls", shell_complete=lambda *_: list(_VERBS))
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--service", metavar="NAME", shell_complete=complete_services, help="Which Postgres; the first one else.")
@click.option("--replace", is_flag=True, help="create: in the place of one of that name that was made so.")
def command_line(settings: Settings, verb: str, names: tuple[str, ...], *, service: str | None, replace: bool) -> None:
    """Do it."""
    if verb not in _VERBS:
        from envctl.cli.words import did_you_mean

        fix = [*did_you_mean(verb, _VERBS), f"envctl db {'|'.join(_VERBS)}"]
        raise UsageError(f"envctl db cannot {verb!r}", fix=fix)
    form = settings.choose_format(_FORMATS)
    if verb == "create":
        _create(settings, form, names, service, replace=replace)
    elif verb == "drop":
        _drop(settings, form, names, service)
    else:
        _list(settings, form, names, service)


def _create(settings: Settings, form: str, names: Sequence[str], service: str | None, *, replace: bool) -> None:
    from envctl.conductor import lending

    if len(names) > 1:
        raise UsageError("one database at a time", fix=["envctl db create NAME"])
    selection = settings.selection()
    made = lending.create(selection, names[0] if names else None, service=service, replace=replace)
    if form == "text":
        output.write(made.url + "\n")
        return
    variables = lending.variables(selection, {made.service: made})
    if form == "json":
        known = {"database": made.database, "service": made.service, "host": made.host, "port": made.port}
        known |= {"url": made.url, "user": made.user, "password": made.password}
        output.write_json(known | {"variables": variables})
    else:
        output.write(formats.render(variables, form))  # type: ignore[arg-type]


def _drop(settings: Settings, form: str, names: Sequence[str], service: str | None) -> None:
    from envctl.conductor import lending

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
    from envctl.cli.words import size
    from envctl.conductor import lending
    from envctl.host.terminal import escape

    if names:
        raise UsageError(f"envctl db ls takes no name, and {names[0]!r} was given")
    found = lending.lent_out(settings.selection(), service=service)
    if form == "json":
        output.write_json({"databases": [one._asdict() for one in found]})
    elif found:
        rows = [(one.name, size(one.size_bytes), str(one.connections), escape(one.made_for, limit=60)) for one in found]
        output.write(table(("DATABASE", "SIZE", "CONNECTIONS", "MADE FOR"), rows, output.columns(sys.stdout)))
    else:
        output.say("no databases beside the environment's own; `envctl db create` makes one")
