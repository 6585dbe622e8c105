"""Data that is migrated and seeded where it is: what persists, or what no snapshot can hold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from envctl.conductor import creation, record, teardown
from envctl.conductor.data import dirty, provenance, shaping
from envctl.conductor.data.provenance import Provenance
from envctl.conductor.place import Place
from envctl.host import clock
from envctl.model import EnvironmentSpec, EnvironmentState
from envctl.plan.steps import Verb

if TYPE_CHECKING:
    from envctl.host.locks import Lock
    from envctl.report import EnvironmentReport, Progress


def bring_up(place: Place, lock: Lock, budget_s: float, progress: Progress, began_s: float) -> EnvironmentReport:
    """As `creation.bring_up`, and then migrate and seed what is up.

    Migrations run again whenever what shapes the data has changed; seeds only fill data that is new. Where it fails, a
    new environment is removed again, and one that was there before is dirty.

    Raises:
        MigrationFailed, SeedFailed: The data could not be made.
        EnvctlError: As there.
    """
    spec, found = place.spec, place.find()
    before, wanted = provenance.recorded(found), Provenance(provenance.direct_key(spec))
    report = creation.bring_up(place, lock, budget_s, progress, began_s, before)
    is_new = place.wishes.fresh or not before.key or any(change.startswith(Verb.DISCARD) for change in report.changes)
    if before.key == wanted.key and not is_new:
        return report
    try:
        _shape(place, spec if is_new else _only_migrated(spec), report, wanted, progress)
    except BaseException as error:
        if found is None or found.state is not EnvironmentState.READY:
            now = place.required()
            teardown.after_failure(place, now, place.engine(now), error, keep=place.wishes.keep_failed, fresh=True)
        raise
    done = place.required()
    total_ms = round((clock.monotonic_s() - began_s) * 1000)
    return record.report(done, timings_ms={**report.timings_ms, "total": total_ms}, changes=report.changes)


def _shape(
    place: Place, spec: EnvironmentSpec, report: EnvironmentReport, wanted: Provenance, progress: Progress
) -> None:
    shaped = [name for name, service in spec.services.items() if service.migrate or service.seed]
    with dirty.while_changing(place, place.required(), "envctl up", shaped):
        shaping.shape(spec, place, report, shaped, progress)
        now = place.required()
        details = {**now.details, **wanted.as_details()}
        place.registry.set_state(now.identity.name, EnvironmentState.DIRTY, details=details)


def _only_migrated(spec: EnvironmentSpec) -> EnvironmentSpec:
    return replace(spec, services={name: replace(one, seed=()) for name, one in spec.services.items()})
