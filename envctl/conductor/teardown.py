"""Taking one environment away: after `down`, after a failed `up`, and after somebody who was killed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from envctl.conductor import record
from envctl.conductor.data import dirty, marker, provenance
from envctl.conductor.place import Place
from envctl.errors import EnvctlError, Interrupted, Leftovers, ServiceNotFound, ServiceNotReady
from envctl.host import files, heartbeat, paths
from envctl.host.registry import EnvironmentRecord, Registry
from envctl.host.signals import shielded
from envctl.model import EnvironmentState, Removed
from envctl.report import Removal, counted

if TYPE_CHECKING:
    from envctl.engines.base import Engine
    from envctl.model import EnvironmentSpec

_KEPT_LOG_LINES = 2000
_EVIDENCE_LINES = 10
_FAILED = "failed"


def remove(
    state: Path, registry: Registry, found: EnvironmentRecord, engine: Engine, *, purge: bool, keep_ports: bool
) -> Removal:
    """Remove an environment; the caller holds its lock.

    In this order: mark, containers, networks, volumes, files, leases and row. Killed at any point, the next command
    finds the mark and goes on.

    Raises:
        Leftovers: Something could not be removed; its row stays.
    """
    name = found.identity.name
    registry.mark_removing(name)
    settled = found.state in (EnvironmentState.READY, EnvironmentState.DIRTY)
    done = engine.remove(found.stack, registry.registry_id, purge=purge, settled=settled)
    if done.left:
        raise Leftovers(
            f'"{name}" was removed except for {len(done.left)} object{"s" if len(done.left) > 1 else ""}',
            leftovers=done.left,
            fix=["remove what uses them, then: envctl down"],
            subject={"environment": name},
            state="the rest is gone; the environment's name and ports stay reserved",
        )
    if done.kept and dirty.is_dirty(found):
        _remove_files(state, name, keep=marker.NAME)
    else:
        files.remove_tree(paths.environment_dir(state, name), below=state)
    if done.kept:
        details = {**dirty.kept(found), **provenance.recorded(found).as_details()}  # its data stays
        registry.set_state(name, EnvironmentState.DOWN, details=details)
    else:
        registry.forget(name, keep_ports=keep_ports)
    for session in found.sessions:  # their watchers have nothing to do any more
        heartbeat.forget(state, session.id)
    counts = {**done.counts, **({} if done.kept else {"port": len(found.stack.ports)})}
    return Removal(name, counts, tuple(f"volume {volume} (persist: true)" for volume in done.kept))


def after_failure(
    place: Place,
    found: EnvironmentRecord,
    engine: Engine,
    error: BaseException,
    *,
    keep: bool,
    fresh: bool,
) -> None:
    """What a failed `up` does before its error goes on: remove what it made, or keep it, and say so in the error.

    Args:
        place: Where we stand.
        found: The environment.
        engine: Its engine.
        error: What failed; its `state` and `leftovers` are filled in.
        keep: Whether everything stays (`--keep-failed`).
        fresh: Whether this `up` made the environment; one that was there before is not removed.
    """
    name = found.identity.name
    with shielded(left=lambda: [f"environment {name}"]):
        if not isinstance(error, Interrupted):
            with suppress(EnvctlError, OSError):
                kept = _keep_logs(place, found, engine, sorted(_services(error)))
                if isinstance(error, ServiceNotReady):  # one that ended has its last lines with it already
                    error.evidence = (*error.evidence, *_last_lines(kept))
        try:
            state = _settle(place, found, engine, keep=keep, fresh=fresh)
        except EnvctlError as second:
            state = f"could not be rolled back ({second.message}); run: envctl down"
            if isinstance(error, EnvctlError):
                error.leftovers = (*error.leftovers, *(second.leftovers or (f"environment {name}",)))
        if isinstance(error, EnvctlError):
            error.state = state


def _settle(place: Place, found: EnvironmentRecord, engine: Engine, *, keep: bool, fresh: bool) -> str:
    name = found.identity.name
    if keep or not fresh:
        now = place.registry.find(name=name) or found
        known = "services" in now.details
        details = now.details if known else {**_details_of_failed(place, now, engine), **now.details}
        state = EnvironmentState.DIRTY if dirty.is_dirty(now) else EnvironmentState.DEGRADED
        place.registry.set_state(name, state, details=details)
        if keep:
            return "kept as it is (--keep-failed); remove it with: envctl down"
        return "the environment was there before and is kept; envctl up tries again, envctl down removes it"
    place.registry.mark_removing(name)
    _remove_files(place.state, name, keep=_FAILED)
    ports = len((place.registry.find(name=name) or found).stack.ports)
    done = engine.remove(found.stack, place.registry.registry_id, purge=False, settled=False)
    if done.left:
        raise Leftovers(f"{len(done.left)} objects are left", leftovers=done.left)
    if done.kept:
        details = provenance.recorded(found).as_details()
        place.registry.set_state(name, EnvironmentState.DOWN, details=details)
        return f"rolled back: {_counted(done, ports)}; kept: {', '.join(done.kept)}"
    place.registry.forget(name)
    return f"rolled back: {_counted(done, ports)} (--keep-failed keeps them)" if done.counts else "nothing was created"


def _remove_files(state: Path, name: str, *, keep: str) -> None:
    """The environment's files, except one: the logs that were kept of what failed, or that its data is dirty."""
    folder = paths.environment_dir(state, name)
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.name != keep:
            files.remove_tree(entry, below=state)
    with suppress(OSError):  # it holds what is kept
        folder.rmdir()


def _counted(done: Removed, ports: int) -> str:
    counts = {**done.counts, "port": ports}
    return f"{words} released" if (words := counted(counts)) else "nothing was created"


def _details_of_failed(place: Place, found: EnvironmentRecord, engine: Engine) -> dict[str, object]:
    """Details of a kept environment that was never ready, so that `env`, `logs` and `psql` can look into it."""
    from envctl.plan import connections
    from envctl.plan.variables import variables

    spec: EnvironmentSpec = place.spec
    try:
        reach = connections.outside(spec, found.stack)
    except KeyError:  # it failed before it had its ports
        return {}
    exported = variables(found.identity, engine.name, spec, reach)
    return record.details(spec, reach, exported, engine_version="", ready_ms={}, timings_ms={})


# -- the logs of what failed -----------------------------------------------------------------------------------------


def _services(error: BaseException) -> set[str]:
    subject = error.subject if isinstance(error, EnvctlError) else {}
    names = subject.get("services") or ([subject["service"]] if "service" in subject else [])
    return {str(name) for name in names} if isinstance(names, list) else set()


def _failed_folder(place: Place, name: str) -> Path:
    return place.folder(name) / _FAILED


def _keep_logs(place: Place, found: EnvironmentRecord, engine: Engine, services: Sequence[str]) -> dict[str, list[str]]:
    """`envctl logs SERVICE` must have something to show after the containers are gone. What was kept, by service."""
    if not services:
        return {}
    kept: dict[str, list[str]] = {}
    folder = _failed_folder(place, found.identity.name)
    seen = engine.survey(found.stack, place.registry.registry_id, whole=False).result().services
    for name in services:
        if name not in seen:
            continue
        handle = seen[name].handle
        lines = engine.logs(found.stack, name, handle, follow=False, tail_lines=_KEPT_LOG_LINES, since=None)
        kept[name] = list(lines)
        paths.make_private(folder)
        files.write_atomic(folder / f"{name}.log", "\n".join(kept[name]) + "\n")
    return kept


def _last_lines(kept: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """What the services said last, for the evidence."""
    for name, lines in kept.items():
        yield f"{name}: {'the last lines of its log:' if lines else 'it logged nothing'}"
        yield from (f"  {line}" for line in lines[-_EVIDENCE_LINES:])


def forget_failure(place: Place, name: str) -> None:
    """Remove the logs an earlier failed `up` kept."""
    folder = place.folder(name)
    if (folder / _FAILED).is_dir():
        files.remove_tree(folder / _FAILED, below=place.state)


def kept_logs(place: Place, services: Sequence[str], tail_lines: int | None) -> Iterator[tuple[str, str]]:
    """The logs that the last failed `up` kept.

    Raises:
        ServiceNotFound: None was kept for a service that was named.
        EnvironmentNotFound: None was kept at all.
    """
    folder = _failed_folder(place, place.identity().name)
    kept = {file.stem: file for file in sorted(folder.glob("*.log"))} if folder.is_dir() else {}
    if not kept:
        raise place.not_found()
    for name in services or kept:
        if name not in kept:
            raise ServiceNotFound(
                f'no log of service "{name}" was kept from the failed envctl up',
                cause=f"kept are: {', '.join(kept)}",
                fix=["envctl up --keep-failed keeps everything"],
                subject={"service": name},
            )
        lines = kept[name].read_text("utf-8", "replace").splitlines()
        for line in lines[-tail_lines:] if tail_lines else lines:
            yield name, line
