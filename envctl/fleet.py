"""Many environments: list them, remove them."""

from __future__ import annotations

from collections.abc import Mapping

from envctl import engines
from envctl.conductor import record
from envctl.conductor.place import lock_name
from envctl.engines.local import with_processes
from envctl.errors import Denied, EngineUnavailable, EnvctlError, Interrupted, Leftovers
from envctl.host import paths
from envctl.host.registry import EnvironmentRecord, Registry
from envctl.model import EnvironmentState, ServiceState
from envctl.report import EnvironmentReport, Progress, Removal

_LOCK_LIMIT_S = 90.0
_Running = Mapping[str, Mapping[str, ServiceState]]


def list_environments(environ: Mapping[str, str]) -> list[EnvironmentReport]:
    """Every environment of this registry, as recorded, corrected by what the engine reports if it answers."""
    registry = _registry(environ)
    if registry is None:
        return []
    found = registry.all()
    running: dict[tuple[str, str], _Running | None] = {}
    for one in found:
        engine = (one.stack.engine, one.stack.endpoint)
        if engine not in running:  # one question to each engine, however many environments it runs
            running[engine] = _running(registry, one, environ)
    return [_report(one, running[one.stack.engine, one.stack.endpoint]) for one in found]


def _running(registry: Registry, found: EnvironmentRecord, environ: Mapping[str, str]) -> _Running | None:
    try:
        engine = engines.create(found.stack.engine, environ, found.stack.endpoint)
        engine = with_processes(engine, paths.state_dir(environ), environ)
        return engine.running(registry.registry_id)
    except (EngineUnavailable, Denied):
        return None


def _report(found: EnvironmentRecord, running: _Running | None) -> EnvironmentReport:
    """The record's report; a READY environment none of whose services runs is stopped, one that lacks some degraded."""
    if running is None or found.state is not EnvironmentState.READY:
        return record.report(found)
    seen = running.get(found.stack.id, {})
    states = {name: (seen.get(name, ServiceState.ABSENT), "") for name in record.connections(found)}
    alive = [state is ServiceState.RUNNING for state, _ in states.values()]
    state = EnvironmentState.READY if all(alive) else EnvironmentState.DEGRADED
    return record.report(found, state=state if any(alive) else EnvironmentState.STOPPED, states=states)


def down_all(environ: Mapping[str, str], *, progress: Progress) -> list[Removal]:
    """Remove every environment of this registry, each under its lock; one that fails does not stop the others.

    Raises:
        Leftovers: Some could not be removed.
    """
    registry = _registry(environ)
    if registry is None:
        return []
    done: list[Removal] = []
    failed: list[EnvctlError] = []
    for found in registry.all():
        try:
            done += _remove_one(registry, found, environ, progress)
        except Interrupted:
            raise
        except EnvctlError as error:
            failed.append(error)
    if failed:
        raise Leftovers(
            f"{len(failed)} of {len(failed) + len(done)} environments could not be removed",
            cause="; ".join(error.message for error in failed),
            leftovers=[line for error in failed for line in error.leftovers or (error.message,)],
            fix=[line for error in failed for line in error.fix],
            state=f"{len(done)} were removed",
        )
    return done


def _remove_one(
    registry: Registry, found: EnvironmentRecord, environ: Mapping[str, str], progress: Progress
) -> list[Removal]:
    from envctl.host import locks

    state = paths.state_dir(environ)
    name = lock_name(found.identity.key)
    with locks.environment_lock(
        state, name, timeout_s=_LOCK_LIMIT_S, purpose="envctl down --all", on_wait=progress.note
    ):
        now = registry.find(name=found.identity.name)
        if now is None or now.state is EnvironmentState.DOWN:
            return []
        progress.phase(found.identity.name, "removing")
        from envctl.conductor import teardown

        engine = engines.create(now.stack.engine, environ, now.stack.endpoint)
        engine = with_processes(engine, state, environ, stack_id=now.stack.id)
        return [teardown.remove(state, registry, now, engine, purge=False, keep_ports=False)]


def _registry(environ: Mapping[str, str]) -> Registry | None:
    state = paths.state_dir(environ)
    if not state.exists():
        return None
    registry = Registry.open(paths.ensure_state_dir(state))
    if registry.needs_repair:
        from envctl.conductor import repair

        repair.from_labels(registry, environ)
    return registry
