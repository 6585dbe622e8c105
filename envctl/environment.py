"""The conductor of one environment: observe → plan → perform → wait."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envctl.report import EnvironmentReport, Progress, Removal


@dataclass(frozen=True, slots=True)
class Selection:
    """Which environment a command is about.

    Attributes:
        start: The folder the command was called in.
        environ: The caller's environment variables.
        file: `-f/--file`, or None to look for envctl.yaml.
        branch: `--branch`, or None to ask git or CI.
        label: `--name`: a second environment beside the branch's, or "".
        engine: `--engine`, or None for what the configuration says.
    """

    start: Path
    environ: Mapping[str, str]
    file: Path | None = None
    branch: str | None = None
    label: str = ""
    engine: str | None = None


def up(
    selection: Selection, *, progress: Progress, timeout_s: float | None = None, keep_failed: bool = False
) -> EnvironmentReport:
    """Create or reuse the environment and wait until every service is ready."""
    raise NotImplementedError


def dry_run(selection: Selection) -> str:
    """The plan `up` would follow, as text. Changes nothing, reserves nothing."""
    raise NotImplementedError


def render(selection: Selection, *, inline_secrets: bool = False) -> str:
    """The Compose document, as YAML. Changes nothing."""
    raise NotImplementedError


def recorded(selection: Selection) -> EnvironmentReport:
    """The environment as it was recorded when it became ready; asks no engine. Raises EnvironmentNotFound."""
    raise NotImplementedError


def status(selection: Selection) -> EnvironmentReport:
    """The environment as it is now: asks the engine and probes each service once. Raises EnvironmentNotFound."""
    raise NotImplementedError


def logs(
    selection: Selection, services: Sequence[str], *, follow: bool, tail_lines: int | None, since: str | None
) -> Iterator[tuple[str, str]]:
    """Log lines as (service, line), raw: escape before printing. Raises ServiceNotFound, EnvironmentNotFound."""
    raise NotImplementedError


def execute(
    selection: Selection,
    service: str,
    command: Sequence[str],
    *,
    tty: bool,
    stdin: bool,
    variables: Mapping[str, str] | None = None,
) -> int:
    """Run `command` inside the service with our standard streams; its exit code.

    `variables` are set for the command; they may hold secrets, so their values must not appear in any argv.
    """
    raise NotImplementedError


def down(
    selection: Selection,
    *,
    progress: Progress,
    keep_ports: bool = False,
    purge: bool = False,
    timeout_s: float | None = None,
) -> Removal | None:
    """Remove the environment; None where there is none. `purge` also removes the data of `persist: true` services."""
    raise NotImplementedError
