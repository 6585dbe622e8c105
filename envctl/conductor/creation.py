"""The `up` that has something to do: claim the environment, bring it up, and on failure leave nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from envctl.conductor import record, session, teardown
from envctl.conductor.bringup import BringUp
from envctl.conductor.data import dirty
from envctl.conductor.data.provenance import NOWHERE, Provenance
from envctl.conductor.place import Place
from envctl.host import clock
from envctl.host.locks import Lock
from envctl.host.registry import EnvironmentRecord
from envctl.model import LOOPBACK, Capabilities, EnvironmentState
from envctl.plan import naming
from envctl.plan.addresses import addresses
from envctl.report import EnvironmentReport, Progress

if TYPE_CHECKING:
    from envctl.engines.base import Engine


def bring_up(
    place: Place,
    lock: Lock,
    budget_s: float,
    progress: Progress,
    began_s: float,
    origin: Provenance = NOWHERE,
) -> EnvironmentReport:
    """Bring the environment up, or leave nothing of it; the caller holds its lock.

    Args:
        place: Where we stand.
        lock: The environment's lock.
        budget_s: Time for becoming ready, seconds.
        progress: Is told what happens.
        began_s: When the command began, on the monotonic clock.
        origin: Where its data comes from.

    Raises:
        EnvctlError: It could not be brought up.
    """
    found = _cleared(place, standing(place), progress)
    if found is not None and (other := place.other_engine(found)):  # its data was kept
        raise other
    fresh = found is None or found.state is EnvironmentState.CREATING
    engine = place.engine(found, planning=True)
    place.identity()  # a broken configuration is told before the engine is asked
    known = place.choice.version if found is None and place.choice else None
    capabilities = engine.seen_from_here(engine.capabilities(known or None))
    try:
        if found is None:
            found = _claim(place, engine, capabilities, progress)
        elif place.wishes.session:
            place.registry.begin_session(found.identity.name, place.wishes.session)
        elif place.adopts(found):
            place.registry.adopt(found.identity.name)
        place.registry.renew(found.identity.name, place.ttl_s(found))
        teardown.forget_failure(place, found.identity.name)
        work = BringUp(place, engine, capabilities, found, lock, budget_s, progress, origin)
        done, plan = work.run()
    except BaseException as error:
        if found := found or place.find():
            teardown.after_failure(place, found, engine, error, keep=place.wishes.keep_failed, fresh=fresh)
        raise
    timings = {**work.timings_ms, "total": round((clock.monotonic_s() - began_s) * 1000)}
    return record.report(done, timings_ms=timings, changes=plan.causes())


def standing(place: Place) -> EnvironmentRecord | None:
    """What is recorded of the environment, if it may be brought up as it is, or is to go first.

    Raises:
        OtherEngine: It stays, and runs on another engine than the one that is asked for.
        DataDirty: It stays, and its data was left half changed.
    """
    found = place.find()
    if found is None or _goes(place, found):
        return found
    if other := place.other_engine(found):
        raise other
    if not place.wishes.dirty:
        dirty.refuse(found)
    return found


def stays(place: Place) -> EnvironmentRecord | None:
    """As `standing`, but None for what is to go first: what comes then is new."""
    found = standing(place)
    return None if found is None or _goes(place, found) else found


def _goes(place: Place, found: EnvironmentRecord) -> bool:
    if found.state is EnvironmentState.DOWN:
        return False
    return found.state is EnvironmentState.REMOVING or place.registry.is_orphan(found) or place.wishes.fresh


def _cleared(place: Place, found: EnvironmentRecord | None, progress: Progress) -> EnvironmentRecord | None:
    """What is left once all has gone that must: what is half removed, belongs to nobody, or is to be fresh."""
    if found is None or found.state is EnvironmentState.DOWN:
        return found
    request = place.wishes.session
    if found.state is EnvironmentState.REMOVING:
        progress.note("finishing the removal that another process left half done")
    elif place.registry.is_orphan(found):
        progress.note("removing what a run that was killed has left")
    elif place.wishes.fresh:
        session.begin_renewal(place.registry, found, request.id if request else "")
        if request and not found.ephemeral:  # somebody has it up: they get a fresh one too
            place.wishes = replace(place.wishes, session=request._replace(keep=True))
    else:
        return found
    teardown.remove(place.state, place.registry, found, place.engine(found), purge=False, keep_ports=True)
    return place.find()


def _claim(place: Place, engine: Engine, capabilities: Capabilities, progress: Progress) -> EnvironmentRecord:
    """The intent: written down before anything is created."""
    spec = place.spec
    host, publish_address = addresses(spec, capabilities)
    if capabilities.vantage and publish_address == capabilities.publish_address:
        progress.note(capabilities.vantage)
    elif publish_address != LOOPBACK:
        progress.note(f"warning: ports are published on {publish_address}, where others may reach them")
    if place.choice:
        progress.note(f"engine {place.choice.reason}")
    identity = place.identity()
    shared = bool(capabilities.vantage)  # the next job's container has the same path, and a registry of its own
    found, _ = place.registry.claim(
        identity,
        engine=engine.name,
        endpoint=engine.address,
        project=naming.stack_project(identity.name, place.registry.registry_id if shared else ""),
        host=host,
        publish_address=publish_address,
        config_file=spec.source,
        ttl_s=place.ttl_s(None),
        branch_source=str(place.checkout.source),
        session=place.wishes.session,
    )
    return found
