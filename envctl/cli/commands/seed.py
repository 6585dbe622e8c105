"""Apply the seeds of this branch's environment again.

Files and commands of `seed` in envctl.yaml, in their order, on top of what the services hold; without a SERVICE, those
of all services. Each file is put in whole or not at all; a command may leave half of its work, and then the environment
is dirty until its data is put right. A new environment is seeded by `envctl up` itself.

`envctl reset` goes back to what it did before, unless `--new-baseline` is given.

Examples:
  envctl seed
  envctl seed postgres --migrate
  envctl seed --new-baseline
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from envctl import environment
from envctl.cli import output, progress
from envctl.cli.command import command
from envctl.cli.complete import complete_services
from envctl.cli.settings import Settings
from envctl.cli.words import took
from envctl.report import counted

if TYPE_CHECKING:
    from envctl.conductor.data.seeding import Seeded

_FORMATS = ("table", "json", "none")


@command(__doc__, formats=_FORMATS)
@click.argument("services", nargs=-1, metavar="[SERVICE]...", shell_complete=complete_services)
@click.option("--migrate", is_flag=True, help="Migrate first.")
@click.option("--new-baseline", is_flag=True, help="From now on `envctl reset` goes back to what is there then.")
def command_line(settings: Settings, services: tuple[str, ...], *, migrate: bool, new_baseline: bool) -> None:
    """Seed it."""
    form = settings.choose_format(_FORMATS)
    with progress.start(settings) as teller:
        done = environment.seed(
            settings.selection(), services, progress=teller, migrate=migrate, new_baseline=new_baseline
        )
    if form == "json":
        output.write_json({"services": {one.service: _as_dict(one) for one in done}, "new_baseline": new_baseline})
    elif form == "table":
        _show(done)


def _as_dict(one: Seeded) -> dict[str, object]:
    steps = [{"file" if step.is_file else "command": step.shown} for step in one.steps]
    return {"migrated": one.migrated, "steps": steps, "duration_ms": round(one.duration_ms, 1)}


def _show(done: Sequence[Seeded]) -> None:
    if not done:
        output.say("nothing to do: no service has a seed")
    width = max((len(one.service) for one in done), default=0)
    for one in done:
        files = sum(step.is_file for step in one.steps)
        what = counted({"file": files, "command": len(one.steps) - files})
        parts = [*(["migrated"] if one.migrated else []), *([f"seeded with {what}"] if what else [])]
        output.write(f"{one.service:<{width}}  {', '.join(parts)}  {took(one.duration_ms / 1000)}\n")
