"""One environment: the verbs behind the commands.

Each verb imports what it needs when it is called: printing recorded variables must not pay for what brings services
up. `up` itself is told in `reuse` (nothing to do) and `creation` (something to do: observe → plan → perform → wait).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from envctl.conductor import record
from envctl.conductor.place import SESSION_VARIABLE, Selection, Wishes, open_place
from envctl.host import clock, locks
from envctl.model import EnvironmentState
from envctl.report import EnvironmentReport, Progress, Removal, Silent

__all__ = [
    "SESSION_VARIABLE",
    "Selection",
    "Wishes",
    "answer",
    "down",
    "dry_run",
    "execute",
    "logs",
    "recorded",
    "render",
    "resetting",
    "seed",
    "status",
    "up",
]

if TYPE_CHECKING:
    from envctl.conductor.data.resetting import Resetting
    from envctl.conductor.data.seeding import Seeded
    from envctl.conductor.place import Place

_LOCK_MARGIN_S = 30.0
_DOWN_WAIT_S = 90.0


def up(selection: Selection, *, progress: Progress, wishes: Wishes | None = None) -> EnvironmentReport:
    """Create or reuse the environment and wait until every service is ready.

    Args:
        selection: Which environment.
        progress: Is told what happens.
        wishes: How it is to be done. With a session, the session has begun when this returns, and has ended when this
            fails.

    Raises:
        EnvctlError: It could not be brought up. Unless `keep_failed`, a new environment was removed again.
    """
    began_s = clock.monotonic_s()
    place = open_place(selection, wishes)
    if place.wishes.session is None:
        return _up(place, progress, began_s)
    from envctl.conductor import session

    with session.begun(place, progress):
        report = _up(place, progress, began_s)
    return replace(report, session=session.of_request(place.registry, place.wishes.session))


def _up(place: Place, progress: Progress, began_s: float) -> EnvironmentReport:
    from envctl.conductor.reuse import reuse

    if not place.wishes.fresh and (report := reuse(place, began_s)):
        return report
    budget_s = place.wishes.timeout_s or place.spec.ready_timeout_s
    with locks.environment_lock(
        place.state, place.lock_name, timeout_s=budget_s + _LOCK_MARGIN_S, purpose="envctl up", on_wait=progress.note
    ) as lock:
        from envctl.conductor.data import provenance

        if provenance.is_prepared(place.spec):
            from envctl.conductor.data.preparing import bring_up
        else:
            from envctl.conductor.creation import bring_up

        # Another process may have done it while we waited.
        found = None if place.wishes.fresh else reuse(place, began_s)
        return found or bring_up(place, lock, budget_s, progress, began_s)


def end_session(
    environ: Mapping[str, str], session_id: str, *, keep: bool = False, progress: Progress | None = None
) -> Removal | None:
    """End a session; removes its environment where that was made for sessions and nobody else uses it.

    Args:
        environ: The caller's variables.
        session_id: The session; one that has ended already is fine.
        keep: Whether the environment stays.
        progress: Is told what happens.

    Returns:
        What was removed, or None where the environment stays.

    Raises:
        Leftovers: Something could not be removed.
    """
    from envctl.conductor import session
    from envctl.host import paths
    from envctl.host.registry import Registry

    state = paths.state_dir(environ)
    return session.end(state, Registry.open(state), environ, session_id, keep=keep, progress=progress or Silent())


def dry_run(selection: Selection) -> str:
    """The plan `up` would follow, as text. Changes nothing, reserves nothing."""
    from envctl.conductor import provisional
    from envctl.conductor.data import provenance

    place = open_place(selection)
    if not provenance.is_prepared(place.spec):
        return provisional.plan_text(place, provenance.NOWHERE, "")
    from envctl.conductor.data import preparing

    return provisional.plan_text(place, *preparing.planned(place))


def render(selection: Selection, *, inline_secrets: bool = False) -> str:
    """The Compose document, as YAML. Changes nothing.

    Args:
        selection: Which environment; where it is not up, ports are left to the engine.
        inline_secrets: Whether the secrets stand in the document, so that it works without any variable set.
    """
    from envctl.conductor import provisional

    return provisional.document_text(open_place(selection), inline_secrets=inline_secrets)


def recorded(selection: Selection, *, dirty_too: bool = False) -> EnvironmentReport:
    """The environment as it was recorded when it became ready; asks no engine.

    Inside a worker of `envctl run --workers`, where no other environment is named, with the worker's own data.

    Args:
        selection: Which environment.
        dirty_too: Whether it may be one whose data was left half changed: to look into it, not to run tests on it.

    Raises:
        EnvironmentNotFound: It was never ready, or is gone.
        DataDirty: Its data was left half changed, or is being changed.
    """
    place = open_place(selection)
    found = place.required()
    if found.state is EnvironmentState.DIRTY and not dirty_too:
        from envctl.conductor.data import dirty

        dirty.refuse(found)
    report = record.report(found)
    if place.around is None:
        return report
    from envctl.conductor import handed

    return handed.as_handed(place, found, report)


def status(selection: Selection) -> EnvironmentReport:
    """The environment as it is now: asks the engine and probes each service once.

    Raises:
        EnvironmentNotFound: It was never ready, or is gone.
    """
    from envctl.conductor import live

    return live.report(open_place(selection))


def logs(
    selection: Selection, services: Sequence[str], *, follow: bool, tail_lines: int | None, since: str | None
) -> Iterator[tuple[str, str]]:
    """Log lines as (service, line), raw: escape before printing.

    After a failed `up` that was rolled back, the log it kept of each service.

    Args:
        selection: Which environment.
        services: Whose; none for all.
        follow: Whether to go on until interrupted.
        tail_lines: Only the last lines of each.
        since: Only what is newer: so long ago ("5m"), or a moment as ISO 8601.

    Raises:
        UsageError: `since` is neither.
        ServiceNotFound: There is no such service.
        EnvironmentNotFound: There is no such environment.
    """
    from envctl.conductor import inside

    yield from inside.logs(open_place(selection), services, follow=follow, tail_lines=tail_lines, since=since)


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

    Args:
        selection: Which environment.
        service: Which service.
        command: Program and arguments.
        tty: Whether to give it a terminal.
        stdin: Whether to pass our standard input on.
        variables: Are set for the command; they may hold secrets, so their values appear in no argument list.

    Raises:
        ServiceNotFound: There is no such service, or it does not run.
        EnvironmentNotFound: There is no such environment.
    """
    from envctl.conductor import inside

    place = open_place(selection)
    return inside.execute(place, service, command, tty=tty, stdin=stdin, variables=variables or {})


def answer(selection: Selection, service: str, command: Sequence[str], limit_s: float) -> tuple[int, str]:
    """Run `command` inside the service: its exit code, and all it said.

    Args:
        selection: Which environment.
        service: Which service.
        command: Program and arguments.
        limit_s: How long it may take, seconds.

    Raises:
        TimeoutError: It took longer.
        ServiceNotFound: There is no such service, or it does not run.
        EnvironmentNotFound: There is no such environment.
    """
    from envctl.conductor import inside

    return inside.answer(open_place(selection), service, command, limit_s)


def seed(
    selection: Selection,
    services: Sequence[str] = (),
    *,
    progress: Progress,
    migrate: bool = False,
    new_baseline: bool = False,
) -> list[Seeded]:
    """Apply the seeds of the configuration again, on top of what the services hold.

    Args:
        selection: Which environment; it is up.
        services: Of which services; none for all that have a seed.
        progress: Is told what happens.
        migrate: Whether they are migrated first.
        new_baseline: Whether a reset goes back to what they hold then, and no more to what it did.

    Returns:
        What was done, for each service.

    Raises:
        EnvironmentNotFound: There is no such environment.
        ForeignServer: What answers is not the environment's own server.
        MigrationFailed, SeedFailed, DataFailed: It failed; the environment may be dirty then.
    """
    from envctl.conductor.data import reseeding

    return reseeding.seed(open_place(selection), services, progress, migrate=migrate, new_baseline=new_baseline)


def resetting(selection: Selection, *, progress: Progress, timeout_s: float | None = None) -> Resetting:
    """What puts the data of services back to their baselines, again and again over connections that stay open.

    Args:
        selection: Which environment; it is looked for with the first reset.
        progress: Is told who is waited for.
        timeout_s: How long to wait for another process that works on it, seconds; None for 30.
    """
    from envctl.conductor.data.resetting import Resetting

    return Resetting(selection, timeout_s=timeout_s, on_wait=progress.note)


def down(
    selection: Selection,
    *,
    progress: Progress,
    keep_ports: bool = False,
    purge: bool = False,
    timeout_s: float | None = None,
    force: bool = False,
) -> Removal | None:
    """Remove the environment; None where there is none. Needs no configuration.

    Args:
        selection: Which environment.
        progress: Is told what happens.
        keep_ports: Whether its ports stay reserved for the next `up`.
        purge: Whether the data of `persist: true` services goes too.
        timeout_s: How long to wait for another process that works on it.
        force: Whether it goes although somebody else uses it.

    Raises:
        EnvironmentInUse: Somebody else uses it.
        Leftovers: Something could not be removed.
    """
    from envctl.conductor import session, teardown

    place = open_place(selection)
    if place.find() is None:
        return None
    limit_s = timeout_s if timeout_s is not None else _DOWN_WAIT_S
    with locks.environment_lock(
        place.state, place.lock_name, timeout_s=limit_s, purpose="envctl down", on_wait=progress.note
    ):
        found = place.find()
        if found is None:
            return None
        if not force:
            session.begin_removal(place.registry, found, selection.environ)
        for service in record.connections(found):
            progress.phase(service, "removing")
        engine = place.engine(found)
        return teardown.remove(place.state, place.registry, found, engine, purge=purge, keep_ports=keep_ports)
