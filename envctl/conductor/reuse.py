"""The `up` that has nothing to do: the environment runs exactly as defined, and answers."""

from __future__ import annotations

from envctl.conductor import record
from envctl.conductor.place import Place
from envctl.host import clock
from envctl.model import EnvironmentState
from envctl.report import EnvironmentReport


def reuse(place: Place, began_s: float) -> EnvironmentReport | None:
    """The report of an environment that runs exactly as defined and answers; None where there is something to do.

    Takes no lock: an environment that is READY before and after the look was so in between.
    """
    found = place.find()
    if found is None or found.state is not EnvironmentState.READY or place.registry.is_orphan(found):
        return None
    engine = place.engine(found)
    # The engine looks while we import what compares, and read the configuration.
    survey = engine.survey(found.stack, place.registry.registry_id, whole=False)
    try:
        from envctl.conductor.unchanged import confirmed

        found = confirmed(place, found, engine, survey)
    finally:
        survey.end()
    if found is None:
        return None
    total_ms = round((clock.monotonic_s() - began_s) * 1000)
    return record.report(found, state=EnvironmentState.READY, timings_ms={"total": total_ms})
