"""The summary of a job, in GitHub's Markdown."""

from __future__ import annotations

import re

from envctl.report import EnvironmentReport, ServiceReport

_SPECIAL = re.compile(r"([!-/:-@\[-`{-~])")  # all of ASCII's punctuation may stand behind a backslash
_LONGEST = 60_000  # GitHub takes a megabyte for each step


def environment(report: EnvironmentReport) -> str:
    """An environment that is ready: its services, how to reach them, how long it took."""
    about = [f"engine {report.engine}", f"branch {_plain(report.identity.branch)}" if report.identity.branch else ""]
    if (total_ms := report.timings_ms.get("total")) is not None:
        about.append(f"{total_ms / 1000:.2f} s")
    lines = [
        f"### envctl: `{report.identity.name}` is {report.state}",
        "",
        " · ".join(filter(None, about)),
        "",
        "| service | kind | state | address | ready after |",
        "|---|---|---|---|---|",
        *(_row(name, service) for name, service in report.services.items()),
    ]
    return "\n".join(lines) + "\n\n"


def _row(name: str, service: ServiceReport) -> str:
    connection = service.connection
    address = f"`{connection.host}:{connection.port}`" if connection.port is not None else ""
    ready = f"{service.ready_ms} ms" if service.ready_ms is not None else ""
    return f"| `{name}` | {_plain(connection.kind)} | {service.state} | {address} | {ready} |"


def failure(code: str, text: str) -> str:
    """A command that failed: its error, as it is printed."""
    text = text[:_LONGEST].rstrip("\n")
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"### envctl failed: {code}\n\n{fence}text\n{text}\n{fence}\n\n"


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
