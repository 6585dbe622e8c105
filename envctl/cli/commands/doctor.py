"""Show what was found here, and how to fix what is wrong.

Engine, versions, address, state directory, port range, images, configuration: what was decided and by which setting.
Exit code 0 when `envctl up` can be expected to work, else that of the first problem in its way. Changes nothing.

Examples:
  envctl doctor
  envctl doctor --format json
  DOCKER_HOST=ssh://builder envctl doctor
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from envctl.cli import output
from envctl.cli.command import command
from envctl.cli.settings import Settings
from envctl.doctor import Finding, examine
from envctl.host.log import redact
from envctl.host.terminal import escape

_FORMATS = ("text", "json")
_NAME_WIDTH = 18


@command(__doc__, formats=_FORMATS)
def command_line(settings: Settings) -> int:
    """Show it."""
    form = settings.choose_format(_FORMATS)
    findings = list(examine(settings.selection()))
    blocking = [finding.exit_code for finding in findings if finding.exit_code]
    if form == "json":
        import json

        report = {"healthy": not blocking, "findings": [finding.as_dict() for finding in findings]}
        output.write(redact(json.dumps(report, indent=2)) + "\n")
    else:
        output.write(_text(findings, color=output.colors(sys.stdout, no_color=settings.no_color)))
    return blocking[0] if blocking else 0


def _text(findings: Iterable[Finding], *, color: bool) -> str:
    lines: list[str] = []
    topic = ""
    for finding in findings:
        if finding.topic != topic:
            topic = finding.topic
            lines += ["", output.paint(topic, output.BOLD, on=color)]
        lines += _lines(finding, color=color)
    problems = sum(bool(finding.problem) for finding in findings)
    lines += ["", f"{problems} problem{'s' if problems != 1 else ''} found" if problems else "no problems found"]
    return "\n".join(lines[1:]) + "\n"


def _lines(finding: Finding, *, color: bool) -> list[str]:
    name = f"  {finding.name:<{_NAME_WIDTH}}"
    if not finding.problem:
        return [f"{name}  {_clean(finding.value)}"]
    blocking = finding.exit_code != 0
    mark = output.paint("problem" if blocking else "warning", output.RED if blocking else output.YELLOW, on=color)
    told, *more = _clean(finding.problem).split("\n")
    lines = [f"{name}  {_clean(finding.value)}".rstrip(), f"    {mark}  {told}"]
    return [*lines, *(f"             {line}" for line in more), *(f"    fix      {_clean(fix)}" for fix in finding.fix)]


def _clean(text: str) -> str:
    return escape(redact(text), limit=500, keep_newlines=True)
