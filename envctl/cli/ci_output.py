"""What a CI system shows beside our lines: folded groups, annotations, the summary of a job. All but files to stderr.

Imported only where `output.ci_system()` says so, or to show the logs of services. GitHub's runner obeys commands in a
job's log; `output.say` makes what comes from elsewhere harmless there, and only this file writes commands.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from envctl.cli import markdown, output
from envctl.errors import EnvctlError, Interrupted
from envctl.host import clock, files
from envctl.host.log import redact
from envctl.host.terminal import escape
from envctl.plan.ci import commands
from envctl.report import EnvironmentReport

_LONGEST_LINE = 2000
_LONGEST_ANNOTATION = 1000
_sections = 0


@contextmanager
def group(title: str) -> Iterator[None]:
    """Fold what the block writes to stderr under `title`; outside of GitHub and GitLab, write it as it is."""
    system, title = output.ci_system(), _line(title)
    if system == "github":
        output.say_exactly(commands.github_command("group", title))
        try:
            yield
        finally:
            output.say_exactly(commands.github_command("endgroup"))
    elif system == "gitlab":
        name = _section_name(title)
        output.say_exactly(commands.gitlab_section_start(name, title, _now_s()))
        try:
            yield
        finally:
            output.say_exactly(commands.gitlab_section_end(name, _now_s()))
    else:
        yield


def service_logs(folder: Path | None, lines_by_service: Mapping[str, Sequence[str]]) -> None:
    """Show the last lines of services, each under its name, and where the rest is.

    Args:
        folder: Where whole logs were written, or None.
        lines_by_service: Service → its lines, raw.
    """
    for service, lines in lines_by_service.items():
        if not lines:
            continue
        title = f"log of {service}, {len(lines)} {'line' if len(lines) == 1 else 'lines'}"
        if output.ci_system() is None:
            output.say(f"{title}:")
        with group(title):
            output.say("\n".join(f"  {escape(redact(line), limit=_LONGEST_LINE)}" for line in lines))
    if folder is not None:
        output.say(f"logs of all services are in {escape(str(folder))}")


def annotate(error: EnvctlError) -> None:
    """Mark the job with an error, where the CI system has a way to."""
    if output.ci_system() == "github":
        told = _line(f"{error.message}: {error.cause}" if error.cause else error.message, _LONGEST_ANNOTATION)
        output.say_exactly(commands.github_command("error", told, title=error.code))


def mask(secrets: Iterable[str]) -> None:
    """Have the CI system hide these values in the rest of the job's log, where it can."""
    if output.ci_system() == "github":
        output.say_exactly(commands.github_masks(secrets))


def summary(report: EnvironmentReport) -> None:
    """Add an environment that is ready to the job's summary, where the CI system has one. Never fails."""
    _summarise(redact(markdown.environment(report)))


def failed(error: EnvctlError, text: str, *, annotated: bool) -> None:
    """Tell of a command that failed, beside its error on stderr. Never fails.

    Args:
        error: The error. An interruption is none: whoever cancelled the job knows.
        text: The error as it is printed, without secrets and control characters.
        annotated: Whether stderr may get an annotation: not where a program reads one JSON object there.
    """
    if isinstance(error, Interrupted):
        return
    if annotated:
        annotate(error)
    _summarise(markdown.failure(error.code, text))


def _summarise(text: str) -> None:
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path and output.ci_system() == "github":
        with suppress(EnvctlError):  # an extra, never worth a failure
            files.append(Path(path), text)


def _line(text: str, limit: int = _LONGEST_LINE) -> str:
    return escape(" ".join(redact(text).split()), limit=limit)


def _section_name(title: str) -> str:
    """A name that is there once in a job, also when envctl is called several times."""
    global _sections
    _sections += 1
    word = re.sub("[^a-z0-9]+", "_", title.lower())[:40]
    return f"{word}_{os.getpid()}_{_sections}"


def _now_s() -> int:
    return int(clock.now().timestamp())
