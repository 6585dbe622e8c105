"""`envctl seed`: the seeds of an environment that is up, applied again on top of what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from envctl import kinds
from envctl.conductor import inside, record
from envctl.conductor.data import dirty, seeding, shaping
from envctl.conductor.data.seeding import Seeded, Shaper
from envctl.conductor.place import Place
from envctl.errors import MigrationFailed, SeedFailed, ServiceNotFound, UsageError
from envctl.host import locks
from envctl.model import Connection, DataCommand, EnvironmentSpec, ServiceSpec
from envctl.report import Progress

_WAIT_S = 90.0
_LONGEST_COMMAND_S = 600.0
_MEND = "mend the file at the line shown"


def seed(
    place: Place, names: Sequence[str], progress: Progress, *, migrate: bool = False, new_baseline: bool = False
) -> list[Seeded]:
    """Apply seeds again. What a reset goes back to stays as it was, unless a new baseline is asked for.

    While this goes on, and after it has failed half-way or was killed, the environment is dirty. Where its first step
    was taken back whole, it is not.

    Args:
        place: Where the environment stands.
        names: Of which services; none for all that have a seed.
        progress: Is told what happens.
        migrate: Whether they are migrated first.
        new_baseline: Whether what they hold then becomes their baseline.

    Returns:
        What was done, for each service; nothing where none has a seed.

    Raises:
        UsageError: A service that was named has no seed.
        ServiceNotFound: There is no such service.
        DataDirty: The data was left half changed before.
        ForeignServer: What answers is not the environment's own server.
        MigrationFailed, SeedFailed, DataFailed: It failed.
    """
    chosen = _chosen(place.spec, names, migrate=migrate)
    if not chosen:
        place.required()
        return []
    with locks.environment_lock(
        place.state, place.lock_name, timeout_s=_WAIT_S, purpose="envctl seed", on_wait=progress.note
    ):
        found = place.required()
        dirty.refuse(found)
        reach = record.connections(found)
        _check(chosen, reach)
        variables = {**place.selection.environ, **found.details.get("variables", {})}
        shaper = Shaper(shaping.root_of(place), reach, variables, progress)
        with dirty.while_changing(place, found, "envctl seed", _concerned(chosen, migrate=migrate)) as change:
            done = _applied(shaper, chosen, change, migrate=migrate)
            for service in chosen if new_baseline else ():
                _take(place, service, reach[service.name])
    return done


def _applied(shaper: Shaper, chosen: Sequence[ServiceSpec], change: dirty.Change, *, migrate: bool) -> list[Seeded]:
    """Apply them one after the other. Where the first step fails and is taken back whole, nothing was changed."""
    try:
        return [shaper.shape(service, migrate=migrate) for service in chosen]
    except (SeedFailed, MigrationFailed) as error:
        if not shaper.done and error.subject.get("rolled_back"):
            change.nothing_changed()
        else:
            error.state = None  # what becomes of the environment counts, and is told there
            error.fix = (*(error.fix or (_MEND,)), "envctl reset puts the data right")
        raise


def _chosen(spec: EnvironmentSpec, names: Sequence[str], *, migrate: bool) -> list[ServiceSpec]:
    """The services in the order of the configuration. Raises UsageError, ServiceNotFound."""
    having = [service for service in spec.services.values() if service.seed or (migrate and service.migrate)]
    for name in names:
        if name not in spec.services:
            known = ", ".join(service.name for service in having) or "none"
            raise ServiceNotFound(
                f'there is no service "{name}"', fix=[f"services with a seed: {known}"], subject={"service": name}
            )
        if all(service.name != name for service in having):
            fix = f"give it one: services: {{{name}: {{seed: {seeding.EXAMPLE}}}}}"
            raise UsageError(f'service "{name}" has no seed', fix=[fix], subject={"service": name})
    return [service for service in having if not names or service.name in names]


def _check(chosen: Sequence[ServiceSpec], reach: dict[str, Connection]) -> None:
    """Whether each is there, and proves to be the environment's own."""
    for service in chosen:
        if service.name not in reach:
            raise ServiceNotFound(
                f'service "{service.name}" is not part of the environment yet',
                fix=["envctl up"],
                subject={"service": service.name},
            )
    for service in chosen:
        if (proof := kinds.proof(service.kind)) is not None:
            proof.prove(reach[service.name])


def _concerned(chosen: Sequence[ServiceSpec], *, migrate: bool) -> list[str]:
    """Whose data may be changed; none means all: nobody knows what a command does."""
    commands = any(isinstance(step, DataCommand) for service in chosen for step in service.seed)
    if commands or (migrate and any(service.migrate for service in chosen)):
        return []
    return [service.name for service in chosen]


def _take(place: Place, service: ServiceSpec, connection: Connection) -> None:
    if (baselines := kinds.baselines(service.kind)) is not None:
        there = partial(inside.answer, place, service.name, limit_s=_LONGEST_COMMAND_S)
        baselines.take(connection, service.reset, there)
