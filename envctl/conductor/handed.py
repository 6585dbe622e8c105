"""What a worker of `envctl run --workers` was handed: written down, so that commands inside it answer with its own."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from envctl.conductor.place import SESSION_VARIABLE, Place
from envctl.host import files, paths
from envctl.host.registry import EnvironmentRecord
from envctl.model import Connection
from envctl.report import EnvironmentReport

_SUFFIX = ".json"


def write(place: Place, name: str, session: str, own: Mapping[str, Connection], variables: Mapping[str, str]) -> None:
    """Write down what a worker was handed.

    Args:
        place: Where we stand.
        name: The environment's name.
        session: The worker's session.
        own: Connections to data of its own, by service.
        variables: All variables it has.

    Raises:
        CannotWrite: It cannot be written.
    """
    known = {"own": {service: asdict(one) for service, one in own.items()}, "variables": dict(variables)}
    path = _path(place, name, session)
    try:
        paths.make_private(path.parent)
    except OSError as error:
        raise files.cannot_write(path, error) from error
    files.write_atomic(path, json.dumps(known), durable=False)


def forget(place: Place, name: str, sessions: Collection[str]) -> None:
    """Remove what was written down of workers. Never fails: whose session has ended reads nothing here."""
    for session in sessions:
        try:
            _path(place, name, session).unlink(missing_ok=True)
        except OSError:
            continue


def left(place: Place, found: EnvironmentRecord) -> list[str]:
    """Sessions of which something is written down, and which have ended: of a run that was killed."""
    live = {session.id for session in found.sessions}
    try:
        written = {path.stem for path in _folder(place, found.identity.name).iterdir() if path.suffix == _SUFFIX}
    except OSError:
        return []
    return sorted(written - live)


def as_handed(place: Place, found: EnvironmentRecord, report: EnvironmentReport) -> EnvironmentReport:
    """The report with the data of the worker that we are called in; as it is, where we are not in one."""
    session = place.selection.environ.get(SESSION_VARIABLE, "")
    if place.around is None or session not in {one.id for one in found.sessions}:
        return report
    try:
        known = json.loads(_path(place, found.identity.name, session).read_bytes())
    except (OSError, ValueError):
        return report
    own = {service: Connection(**one) for service, one in known["own"].items()}
    services = {name: replace(one, connection=own.get(name, one.connection)) for name, one in report.services.items()}
    return replace(report, services=services, variables=known["variables"])


def _folder(place: Place, name: str) -> Path:
    return place.folder(name) / "workers"


def _path(place: Place, name: str, session: str) -> Path:
    return _folder(place, name) / f"{session}{_SUFFIX}"
