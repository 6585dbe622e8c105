"""The data of services that are up: migrated, seeded, remembered as the baseline, and written to the data folders."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from envctl import kinds
from envctl.conductor import inside
from envctl.conductor.data import seeding
from envctl.conductor.place import SESSION_VARIABLE, Place
from envctl.report import EnvironmentReport

if TYPE_CHECKING:
    from envctl.model import EnvironmentSpec
    from envctl.report import Progress

_LONGEST_COMMAND_S = 600.0


def shape(
    spec: EnvironmentSpec, place: Place, report: EnvironmentReport, services: Sequence[str], progress: Progress
) -> None:
    """Migrate and seed services that are up, and remember what they hold then as their baseline.

    Args:
        spec: What the data is to be.
        place: Where the environment stands.
        report: The environment.
        services: Which of its services.
        progress: Is told what happens.

    Raises:
        MigrationFailed, SeedFailed, DataFailed: It could not be done.
    """
    reach = {name: service.connection for name, service in report.services.items()}
    request = place.wishes.session
    inner = {SESSION_VARIABLE: request.id} if request else {}
    variables = {**place.selection.environ, **report.variables, **inner}
    seeding.shape(root_of(place), spec, services, reach, variables, progress)
    for name in services:
        if (baselines := kinds.baselines(reach[name].kind)) is not None:
            baselines.take(reach[name], spec.services[name].reset, partial(_inside, place, name))


def settle(report: EnvironmentReport, services: Sequence[str]) -> None:
    """Have everything written to the data folders. Raises DataFailed."""
    for name in services:
        connection = report.services[name].connection
        if (settling := kinds.settling(connection.kind)) is not None:
            settling.settle(connection)


def _inside(place: Place, service: str, command: Sequence[str]) -> tuple[int, str]:
    return inside.answer(place, service, command, _LONGEST_COMMAND_S)


def root_of(place: Place) -> Path:
    """The project's root, from which the paths of seeds count."""
    from envctl.host import config

    return config.project_root(place.spec, place.selection.start)
