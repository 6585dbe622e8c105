"""What is kept of a run that failed: the log of each service during the run, and how the services were at its end."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from envctl.conductor import inside
from envctl.conductor.place import Place
from envctl.errors import EnvctlError
from envctl.host import clock, files, paths
from envctl.host.files import cannot_write
from envctl.host.log import redact

_KEPT_RUNS = 20
_TOLD_LINES = 20


class Artifacts(NamedTuple):
    """What was kept.

    Attributes:
        folder: Where.
        last_lines: By service, the last lines of its log during the run, without secrets; services that said nothing
            are left out.
    """

    folder: Path
    last_lines: Mapping[str, tuple[str, ...]]


def keep(place: Place, since: datetime, folder: Path | None) -> Artifacts:
    """Write what the services said since a moment, and how they are, without secrets.

    Args:
        place: The environment.
        since: When the run began.
        folder: Where to; None for a folder of the state directory, in which the 20 most recent runs are kept.

    Raises:
        CannotWrite: The folder cannot be made or written.
        EnvironmentNotFound: There is no environment any more.
    """
    found = place.required()
    target = folder if folder is not None else _own_folder(place, found.identity.name)
    try:
        if folder is None:
            paths.make_private(target.parent)
            _make_room(target.parent)
            paths.make_private(target)
        else:
            target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(target, error) from error
    seen = _logs(place, since)
    for service, lines in seen.items():
        files.write_atomic(target / f"{service}.log", "".join(f"{line}\n" for line in lines), 0o644, durable=False)
    files.write_atomic(target / "environment.json", _status(place), 0o644, durable=False)
    return Artifacts(target, {name: tuple(lines[-_TOLD_LINES:]) for name, lines in seen.items() if lines})


def _own_folder(place: Place, name: str) -> Path:
    return place.state / "runs" / f"{name}-{clock.now():%Y%m%dT%H%M%S}-{os.getpid()}"


def _make_room(runs: Path) -> None:
    """Remove all but the most recent ones, of which another run may remove some just now."""
    ages: list[tuple[float, Path]] = []
    for run in runs.iterdir():
        with suppress(FileNotFoundError):
            ages.append((run.stat().st_mtime, run))
    for _, run in sorted(ages)[: max(0, len(ages) - _KEPT_RUNS + 1)]:
        files.remove_tree(run, below=runs)


def _logs(place: Place, since: datetime) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in place.required().details.get("services", {})}
    with suppress(EnvctlError):  # what could be read is better than nothing
        for service, line in inside.logs(place, (), follow=False, tail_lines=None, since=since.isoformat()):
            found.setdefault(service, []).append(redact(line))
    return found


def _status(place: Place) -> str:
    from envctl.conductor import live

    report = live.report(place).as_dict()
    report.pop("variables")
    return redact(json.dumps(report, indent=2)) + "\n"
