"""Many environments: list them, remove them, collect those that nobody needs any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from envctl.conductor import record, sweeping
from envctl.errors import (
    Busy,
    EnvctlError,
    EnvironmentInUse,
    EnvironmentNotFound,
    Interrupted,
    Leftovers,
)
from envctl.host import paths
from envctl.host.registry import EnvironmentRecord, Registry
from envctl.model import EnvironmentState
from envctl.report import EnvironmentReport, Progress, Removal

_LOCK_LIMIT_S = 90.0


def list_environments(environ: Mapping[str, str], *, sizes_limit_s: float | None = None) -> list[EnvironmentReport]:
    """Every environment of this registry: as recorded, corrected by what its engine tells, with its size and users.

    Args:
        environ: The caller's variables.
        sizes_limit_s: How long to wait for sizes, or None for no longer than a quick list can.
    """
    registry = _registry(environ)
    if registry is None:
        return []
    from envctl.conductor import listing

    limit_s = listing.SIZES_LIMIT_S if sizes_limit_s is None else sizes_limit_s
    return listing.reports(registry, paths.state_dir(environ), environ, sizes_limit_s=limit_s)


# -- removing ------------------------------------------------------------------------------------------------------


def select(environ: Mapping[str, str], patterns: Sequence[str] = ()) -> list[EnvironmentReport]:
    """The environments that `down_all` would remove, as recorded, with the sessions that live. Changes nothing.

    Raises:
        EnvironmentNotFound: A pattern matches none.
    """
    registry = _registry(environ)
    if registry is None:
        _matching([], patterns)
        return []
    found = [one for one in _matching(registry.all(), patterns) if one.state is not EnvironmentState.DOWN]
    return [replace(record.report(one), sessions=registry.living_sessions(one)) for one in found]


def down_all(
    environ: Mapping[str, str], *, progress: Progress, patterns: Sequence[str] = (), force: bool = False
) -> list[Removal]:
    """Remove environments of this registry, each under its lock; one that fails does not stop the others.

    Args:
        environ: The caller's variables.
        progress: Is told what happens.
        patterns: Shell-style; those of which one matches the name or the branch go. Without any, all go.
        force: Whether those go too that somebody else uses.

    Raises:
        EnvironmentNotFound: A pattern matches none; nothing was removed.
        EnvironmentInUse: Some stay because somebody uses them; the others were removed.
        Leftovers: Some could not be removed for another reason.
    """
    registry = _registry(environ)
    if registry is None:
        _matching([], patterns)
        return []
    done: list[Removal] = []
    failed: list[EnvctlError] = []

    def may_go(now: EnvironmentRecord) -> bool:
        from envctl.conductor import session

        if not force:
            session.begin_removal(registry, now, environ)
        return True

    for found in _matching(registry.all(), patterns):
        try:
            done += _remove_one(registry, found, environ, progress, only_if=may_go)
        except Interrupted:
            raise
        except EnvctlError as error:
            failed.append(error)
    if failed:
        raise _some_stay(failed, done)
    return done


def _matching(found: Sequence[EnvironmentRecord], patterns: Sequence[str]) -> list[EnvironmentRecord]:
    """Those of which a pattern matches the name or the branch; all without patterns."""
    from fnmatch import fnmatchcase

    matched: set[str] = set()
    for pattern in patterns:
        names = {
            one.identity.name
            for one in found
            if fnmatchcase(one.identity.name, pattern) or fnmatchcase(one.identity.branch, pattern)
        }
        if not names:
            raise EnvironmentNotFound(
                f"no environment has a name or branch that matches {pattern!r}",
                evidence=[f"{one.identity.name}  {one.identity.branch}" for one in found],
                fix=["envctl ls shows the environments there are", "put patterns in quotes: 'feature/*'"],
                subject={"pattern": pattern, "environments": [one.identity.name for one in found]},
                state="nothing was removed",
            )
        matched |= names
    return [one for one in found if one.identity.name in matched or not patterns]


def _some_stay(failed: Sequence[EnvctlError], done: Sequence[Removal]) -> EnvctlError:
    if len(failed) == 1 and not done:
        return failed[0]
    all_used = all(isinstance(error, EnvironmentInUse) for error in failed)
    make, words = (EnvironmentInUse, "are in use") if all_used else (Leftovers, "could not be removed")
    return make(
        f"{len(failed)} of {len(failed) + len(done)} environments {words}",
        cause="; ".join(error.message for error in failed),
        leftovers=[line for error in failed for line in error.leftovers or (error.message,)],
        fix=list(dict.fromkeys(line for error in failed for line in error.fix)),
        state=f"{len(done)} were removed",
    )


class Collected(NamedTuple):
    """One environment that nobody needs any more.

    Attributes:
        name: Its name.
        cause: Why it goes.
        removal: What was removed; None in a dry run, where it failed, or where somebody came to use it after all.
        error: What failed.
    """

    name: str
    cause: str
    removal: Removal | None = None
    error: EnvctlError | None = None


def collect(
    environ: Mapping[str, str],
    *,
    progress: Progress,
    thorough: bool = True,
    dry_run: bool = False,
    wait_s: float = 0.0,
) -> list[Collected]:
    """Remove what has expired, what was made for runs that have ended, and what has lost its branch or checkout.

    Never one in use: by a session that lives, or by a command that works on it.

    Args:
        environ: The caller's variables.
        progress: Is told what happens.
        thorough: Whether git and the file system are asked too, and interrupted commands count; else only what is
            certain by the registry.
        dry_run: Whether to change nothing.
        wait_s: How long to wait for a command that works on one, seconds.
    """
    registry = _registry(environ, sweeps=False)
    if registry is None:
        return []
    collected: list[Collected] = []
    for found in registry.all():
        cause = _due(registry, found, thorough=thorough)
        if cause is None:
            continue
        one = Collected(found.identity.name, cause)
        if not dry_run:
            collected.append(_collect_one(registry, found, environ, progress, one, thorough=thorough, wait_s=wait_s))
        elif not _is_worked_on(environ, found):
            collected.append(one)
    return collected


def _is_worked_on(environ: Mapping[str, str], found: EnvironmentRecord) -> bool:
    from envctl.conductor.place import lock_name
    from envctl.host import locks

    name = lock_name(found.identity.key)
    try:
        with locks.environment_lock(paths.state_dir(environ), name, timeout_s=0.0, purpose="a look at it"):
            return False
    except Busy:
        return True


def _due(registry: Registry, found: EnvironmentRecord, *, thorough: bool) -> str | None:
    """Why an environment is to be removed, or None."""
    cause = sweeping.due(registry, found)
    if cause or not thorough or registry.living_sessions(found):
        return cause
    from envctl.conductor import gone

    return gone.cause(found)


def _collect_one(
    registry: Registry,
    found: EnvironmentRecord,
    environ: Mapping[str, str],
    progress: Progress,
    one: Collected,
    *,
    thorough: bool,
    wait_s: float,
) -> Collected:
    def still_due(now: EnvironmentRecord) -> bool:
        due = now.stack.id == found.stack.id and _due(registry, now, thorough=thorough) is not None
        return due and not registry.begin_removal(now.identity.name, lambda _: False)

    try:
        removals = _remove_one(registry, found, environ, progress, limit_s=wait_s, only_if=still_due)
    except Interrupted:
        raise
    except Busy:  # somebody works on it: it is in use
        return one
    except EnvctlError as error:
        return one._replace(error=error)
    return one._replace(removal=removals[0] if removals else None)


def _remove_one(
    registry: Registry,
    found: EnvironmentRecord,
    environ: Mapping[str, str],
    progress: Progress,
    *,
    limit_s: float = _LOCK_LIMIT_S,
    only_if: Callable[[EnvironmentRecord], bool] = lambda _: True,
) -> list[Removal]:
    from envctl.conductor.place import lock_name
    from envctl.host import locks

    state = paths.state_dir(environ)
    name = lock_name(found.identity.key)
    with locks.environment_lock(
        state, name, timeout_s=limit_s, purpose="the removal of environments", on_wait=progress.note
    ):
        now = registry.find(name=found.identity.name)
        if now is None or now.state is EnvironmentState.DOWN or not only_if(now):
            return []
        progress.phase(found.identity.name, "removing")
        from envctl.conductor import removing

        return [removing.remove(state, registry, now, environ)]


def _registry(environ: Mapping[str, str], *, sweeps: bool = True) -> Registry | None:
    state = paths.state_dir(environ)
    if not state.exists():
        return None
    registry = Registry.open(paths.ensure_state_dir(state))
    if registry.needs_repair:
        from envctl.conductor import repair

        repair.from_labels(registry, environ)
    if sweeps:
        sweeping.start_if_due(registry, state, environ)
    return registry
