"""The data that a repository asks for: services migrated and seeded, by its files and its own programs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from envctl import kinds
from envctl.errors import (
    CommandNotExecutable,
    CommandNotFound,
    DataError,
    EnvctlError,
    MigrationFailed,
    SeedFailed,
)
from envctl.host import captured, clock
from envctl.model import Connection, DataCommand, EnvironmentSpec, SeedFile, ServiceSpec
from envctl.plan.units import format_duration
from envctl.report import Progress

EXAMPLE = '[db/*.sql, fixtures/*.csv, {command: "npm run db:seed"}]'

_LIMIT_S = 600.0
_SHOWN_LINES, _LONGEST_SHOWN = 15, 200
_SHELL = ("/bin/sh", "-c")
_NOT_RUN = {126: "the shell could not run a command of it", 127: "the shell did not find a command of it"}


class Step(NamedTuple):
    """A step of a seed that was done.

    Attributes:
        shown: The file, relative to the project's root, or the command.
        is_file: Which of these it is.
    """

    shown: str
    is_file: bool


class Seeded(NamedTuple):
    """What was done with the data of one service.

    Attributes:
        service: Its name.
        migrated: Whether its migration was run.
        steps: What its seed is made of.
        duration_ms: How long all of it took.
    """

    service: str
    migrated: bool
    steps: tuple[Step, ...]
    duration_ms: float


def shape(
    root: Path,
    spec: EnvironmentSpec,
    services: Sequence[str],
    connections: Mapping[str, Connection],
    variables: Mapping[str, str],
    progress: Progress,
) -> None:
    """Migrate and seed services that are ready, each wholly before the next, in the order of the configuration.

    Args:
        root: The project's root.
        spec: The configuration.
        services: Which of its services.
        connections: How to reach them.
        variables: All the variables of the commands.
        progress: Is told what happens.

    Raises:
        MigrationFailed: A migration failed.
        SeedFailed: A file or a command of a seed failed.
        Interrupted: A signal came; a command that ran was ended.
    """
    shaper = Shaper(root, connections, variables, progress)
    for name, service in spec.services.items():
        if name in services:
            shaper.shape(service, migrate=True)


class Shaper:
    """Migrates and seeds services.

    Attributes:
        done: How many steps were done, and have changed data.
    """

    def __init__(
        self, root: Path, connections: Mapping[str, Connection], variables: Mapping[str, str], progress: Progress
    ) -> None:
        self._root, self._connections, self._variables, self._progress = root, connections, variables, progress
        self.done = 0

    def shape(self, service: ServiceSpec, *, migrate: bool) -> Seeded:
        """Migrate it, then seed it. Raises MigrationFailed, SeedFailed."""
        began_s = clock.monotonic_s()
        migrated = migrate and service.migrate is not None
        if migrate and service.migrate is not None:
            self._run(service, service.migrate, MigrationFailed)
        steps = []
        for step in service.seed:
            if isinstance(step, DataCommand):
                self._run(service, step, SeedFailed)
                steps.append(Step(shown(step), is_file=False))
            else:
                self._apply(service, step)
                steps.append(Step(step.path, is_file=True))
        return Seeded(service.name, migrated, tuple(steps), (clock.monotonic_s() - began_s) * 1000)

    def _apply(self, service: ServiceSpec, file: SeedFile) -> None:
        began_s = clock.monotonic_s()
        self._progress.phase(service.name, "seeding", file.path)
        seeding = kinds.seeding(service.kind)
        if seeding is None:
            raise SeedFailed(
                f"{file.path} cannot be put into service {service.name}",
                cause=f"a service of kind {service.kind} takes no files",
                fix=["seed it by a command: seed: {command: …}"],
                subject={"service": service.name, "file": file.path, "rolled_back": True},
            )
        seeding.apply(self._connections[service.name], self._root / file.path, file.path)
        self.done += 1
        self._progress.note(f"{service.name}: seeded with {file.path} in {_took(began_s)}")

    def _run(self, service: ServiceSpec, task: DataCommand, failure: type[DataError]) -> None:
        began_s = clock.monotonic_s()
        doing = "migrating" if failure is MigrationFailed else "seeding"
        self._progress.phase(service.name, doing, shown(task))
        try:
            ended = captured.run(
                task.command,
                {**self._variables, "PWD": task.cwd},
                Path(task.cwd),
                limit_s=_LIMIT_S,
                told=lambda line: self._progress.phase(service.name, doing, line),
            )
        except (CommandNotFound, CommandNotExecutable) as error:
            raise _not_started(service.name, task, failure, error) from error
        if ended.code != 0:
            raise _failed(service.name, task, failure, ended, _took(began_s))
        self.done += 1
        self._progress.note(f"{service.name}: `{shown(task)}` done in {_took(began_s)}")


def shown(task: DataCommand) -> str:
    """A command as people wrote it."""
    line = task.command[2] if task.command[:2] == _SHELL and len(task.command) == 3 else shlex.join(task.command)
    words = " ".join(line.split())
    return words if len(words) <= _LONGEST_SHOWN else words[:_LONGEST_SHOWN] + "…"


def _took(began_s: float) -> str:
    return f"{clock.monotonic_s() - began_s:.2f} s"


def _not_started(service: str, task: DataCommand, failure: type[DataError], error: EnvctlError) -> DataError:
    return failure(
        _aim(service, failure),
        cause=f"`{shown(task)}`: {error.message}: {error.cause}",
        fix=error.fix,
        subject={"service": service, "command": shown(task), "rolled_back": True},
    )


def _failed(service: str, task: DataCommand, failure: type[DataError], ended: captured.Ended, took: str) -> DataError:
    what = "migration" if failure is MigrationFailed else "seed"
    if ended.code is None:
        how = f"did not end within {format_duration(_LIMIT_S)}, and was ended"
    elif ended.code in _NOT_RUN and task.command[:2] == _SHELL:
        how = f"ended with exit code {ended.code} after {took}: {_NOT_RUN[ended.code]}"
    else:
        how = f"ended with exit code {ended.code} after {took}"
    fixes = [f"mend the {what} and try again"]
    if ended.code in _NOT_RUN:
        fixes = ["install it, activate what holds it, or give its path (.venv/bin/…, node_modules/.bin/…)"]
    return failure(
        _aim(service, failure),
        cause=f"`{shown(task)}` {how}",
        evidence=ended.lines[-_SHOWN_LINES:] or ["it said nothing"],
        fix=[*fixes, f"it runs in {task.cwd}, with the variables of `envctl env`"],
        subject={"service": service, "command": shown(task), "exit_code": ended.code, "cwd": task.cwd},
    )


def _aim(service: str, failure: type[DataError]) -> str:
    return f"the {'migration' if failure is MigrationFailed else 'seed'} of service {service} failed"
