"""List every environment of this machine.

With its branch, age, ports, what its data takes on disk, and who uses it. A star stands before those of the checkout
and branch you are in. Sizes that are not known within a moment are left out, unless `--sizes` is given.

Examples:
  envctl ls
  envctl ls --sizes --format json
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime

import click

from envctl import fleet
from envctl.cli import output
from envctl.cli.cells import table
from envctl.cli.command import command
from envctl.cli.settings import Settings, current_folder
from envctl.cli.words import seconds_between, size, span
from envctl.errors import UsageError
from envctl.host import clock
from envctl.host.terminal import escape
from envctl.report import EnvironmentReport

_FORMATS = ("table", "json")
_SIZES_LIMIT_S = 30.0
_HEADERS = ("NAME", "BRANCH", "STATE", "AGE", "EXPIRES", "PORTS", "DISK", "OWNER")


@command(__doc__, selects=False, formats=_FORMATS)
@click.option("--sizes", is_flag=True, help="Wait until all sizes are known, for 30 s at most.")
def command_line(settings: Settings, *, sizes: bool) -> None:
    """List them."""
    form = settings.choose_format(_FORMATS)
    reports = fleet.list_environments(os.environ, sizes_limit_s=_SIZES_LIMIT_S if sizes else None)
    if form == "json":
        output.write_json({"environments": [_summary(report) for report in reports]})
    elif reports:
        now, columns = clock.now(), output.columns(sys.stdout)
        marked = _here(reports) if columns else []
        output.write(table(_HEADERS, [_row(report, now) for report in reports], columns, marked=marked))
    else:
        output.say("no environments; `envctl up` creates one")


def _here(reports: Sequence[EnvironmentReport]) -> list[int]:
    """The numbers of those of the checkout and branch we are in."""
    from envctl.host.git import find_checkout
    from envctl.plan import naming

    try:
        own = naming.identify(find_checkout(current_folder(), os.environ), None)
    except UsageError:  # the current folder no longer exists
        return []
    ours = (own.checkout, own.branch)
    return [i for i, report in enumerate(reports) if (report.identity.checkout, report.identity.branch) == ours]


def _summary(report: EnvironmentReport) -> dict[str, object]:
    """The report without variables and passwords: a list of all environments has no business with them."""
    services = {
        name: {"kind": s.connection.kind, "state": str(s.state), "host": s.connection.host, "port": s.connection.port}
        for name, s in report.services.items()
    }
    sessions = [{"id": one.id, "purpose": one.purpose, "pid": one.owner.pid} for one in report.sessions]
    whole = {name: value for name, value in report.as_dict().items() if name not in {"variables", "timings_ms"}}
    return whole | {
        "services": services,
        "label": report.identity.label,
        "checkout": report.identity.checkout,
        "last_used_at": report.last_used_at,
        "ephemeral": report.ephemeral,
        "owner": report.user or None,
        "sessions": sessions,
        "disk_bytes": report.disk_bytes,
    }


def _row(report: EnvironmentReport, now: datetime) -> tuple[str, ...]:
    age_s = seconds_between(report.created_at, now)
    left_s = seconds_between(report.expires_at, now) if report.expires_at else None
    ports = [f"{name}:{s.connection.port}" for name, s in report.services.items() if s.connection.port]
    return (
        report.identity.name,
        escape(report.identity.branch, limit=60),
        str(report.state),
        span(age_s) if age_s is not None else "",
        _remaining(left_s),
        " ".join(ports),
        size(report.disk_bytes) if report.disk_bytes is not None else "",
        escape(report.user, limit=60),
    )


def _remaining(passed_s: float | None) -> str:
    if passed_s is None:
        return ""
    return "expired" if passed_s >= 0 else f"in {span(-passed_s)}"
