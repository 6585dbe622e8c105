"""Show this environment as it is now.

The engine is asked and each service is probed once. Exit code 0 when all are ready, 80 when one is not or the data was
left half changed (dirty), 66 when there is no environment.

Examples:
  envctl status
  envctl status --format json
  envctl status >/dev/null || envctl up
"""

from __future__ import annotations

import sys

from envctl import environment
from envctl.cli import output
from envctl.cli.cells import table
from envctl.cli.command import command
from envctl.cli.services import address, ready_count, secrets
from envctl.cli.settings import Settings
from envctl.errors import NotReady
from envctl.host.log import keep_secret, redact
from envctl.host.terminal import escape
from envctl.model import EnvironmentState
from envctl.report import EnvironmentReport

_FORMATS = ("table", "json")


@command(__doc__, formats=_FORMATS)
def command_line(settings: Settings) -> int:
    """Show it."""
    form = settings.choose_format(_FORMATS)
    report = environment.status(settings.selection())
    keep_secret(secrets(report))
    if form == "json":
        output.write_json(report.as_dict())
    else:
        output.write(output.harmless(_text(report)))
    usable = report.state is not EnvironmentState.DIRTY and ready_count(report) == len(report.services)
    return 0 if usable else NotReady.exit_code


def _text(report: EnvironmentReport) -> str:
    identity = report.identity
    about = [f"branch {escape(identity.branch)}" if identity.branch else "", f"engine {report.engine}"]
    about.append(f"expires {report.expires_at}" if report.expires_at else "")
    headline = f"{identity.name}  {report.state}  ({', '.join(filter(None, about))})"
    if report.dirty:
        begun = report.dirty
        headline += f"\n  `{escape(begun['doing'])}`, begun by process {begun['pid']} at {begun['since']}"
    rows = [
        (name, str(service.state), address(service.connection), escape(redact(service.detail), limit=200))
        for name, service in report.services.items()
    ]
    headers = ("SERVICE", "STATE", "ADDRESS", "DETAIL")
    return f"{headline}\n\n{table(headers, rows, output.columns(sys.stdout)) if rows else ''}"
