"""List every environment of this machine.

Examples:
  envctl ls
  envctl ls --format json
"""

from __future__ import annotations

import os
import sys
from datetime import datetime

from envctl import fleet
from envctl.cli import output
from envctl.cli.cells import table
from envctl.cli.command import command
from envctl.cli.settings import Settings
from envctl.cli.words import seconds_between, span
from envctl.host import clock
from envctl.host.terminal import escape
from envctl.report import EnvironmentReport

_FORMATS = ("table", "json")
_HEADERS = ("NAME", "BRANCH", "STATE", "AGE", "EXPIRES", "PORTS")


@command(__doc__, selects=False, formats=_FORMATS)
def command_line(settings: Settings) -> None:
    """List them."""
    form = settings.choose_format(_FORMATS)
    reports = fleet.list_environments(os.environ)
    if form == "json":
        output.write_json({"environments": [_summary(report) for report in reports]})
    elif reports:
        now = clock.now()
        output.write(table(_HEADERS, [_row(report, now) for report in reports], output.columns(sys.stdout)))
    else:
        output.say("no environments; `envctl up` creates one")


def _summary(report: EnvironmentReport) -> dict[str, object]:
    """The report without variables and passwords: a list of all environments has no business with them."""
    services = {
        name: {"kind": s.connection.kind, "state": str(s.state), "host": s.connection.host, "port": s.connection.port}
        for name, s in report.services.items()
    }
    whole = report.as_dict() | {"label": report.identity.label, "checkout": report.identity.checkout}
    return {key: value for key, value in whole.items() if key not in {"variables", "timings_ms"}} | {
        "services": services
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
    )


def _remaining(passed_s: float | None) -> str:
    if passed_s is None:
        return ""
    return "expired" if passed_s >= 0 else f"in {span(-passed_s)}"
