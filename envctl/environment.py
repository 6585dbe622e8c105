"""The conductor of one environment: observe → plan → perform → wait."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from envctl import bringup, record, teardown
from envctl.engines.base import Engine, Survey
from envctl.errors import ServiceNotFound
from envctl.host import clock, locks
from envctl.host.registry import EnvironmentRecord
from envctl.model import (
    LOOPBACK,
    Capabilities,
    Connection,
    EnvironmentSpec,
    EnvironmentState,
    Observed,
    ServiceState,
    Stack,
    Verdict,
)
from envctl.place import Place, Selection, open_place
from envctl.plan import connections, planner
from envctl.plan.steps import Plan
from envctl.plan.variables import variables
from envctl.ready.factory import probe_for
from envctl.ready.wait import check_once
from envctl.report import EnvironmentReport, Progress, Removal

__all__ = ["Selection", "down", "dry_run", "execute", "logs", "recorded", "render", "status", "up"]

_CHECK_LIMIT_S = 2.0
_LOCK_MARGIN_S = 30.0
_CI_TTL_S = 7200.0


def up(
    selection: Selection, *, progress: Progress, timeout_s: float | None = None, keep_failed: bool = False
) -> EnvironmentReport:
    """Create or reuse the environment and wait until every service is ready.

    Args:
        selection: Which environment.
        progress: Is told what happens.
        timeout_s: Time for becoming ready, or None for the configuration's `ready_timeout`.
        keep_failed: Whether to leave everything in place when it fails.

    Raises:
        EnvctlError: It could not be brought up. Unless `keep_failed`, a new environment was removed again.
    """
    began_s = clock.monotonic_s()
    place = open_place(selection)
    if report := _reuse(place, began_s):
        return report
    budget_s = timeout_s if timeout_s is not None else place.spec.ready_timeout_s
    with locks.environment_lock(
        place.state, place.lock_name, timeout_s=budget_s + _LOCK_MARGIN_S, purpose="envctl up", on_wait=progress.note
    ) as lock:
        # Another process may have done it while we waited.
        return _reuse(place, began_s) or _bring_up(place, lock, budget_s, progress, began_s, keep_failed=keep_failed)


def _reuse(place: Place, began_s: float) -> EnvironmentReport | None:
    """The report of an environment that runs exactly as defined and answers; None where there is something to do.

    Takes no lock: an environment that is READY before and after the look was so in between.
    """
    found = place.find()
    if found is None or found.state is not EnvironmentState.READY:
        return None
    engine = place.engine(found)
    survey = engine.survey(found.stack, place.registry.registry_id, whole=False)  # runs while we read the configuration
    if not _covers(found.stack, place.spec):
        return None
    capabilities = engine.capabilities(str(found.details["engine_version"]))
    observed = survey.result()
    plan = planner.plan(place.spec, bringup.facts_for(place, found, found.stack, capabilities, observed))
    if not plan.is_empty:
        return None
    reach = connections.outside(place.spec, found.stack)
    target = bringup.EngineTarget(engine, found.stack, place.registry.registry_id)
    probes = {name: probe_for(service, reach[name], target) for name, service in place.spec.services.items()}
    if any(answer.verdict is not Verdict.READY for answer in check_once(probes, _CHECK_LIMIT_S).values()):
        return None
    found = _refreshed(place, found, reach)
    if found is None:
        return None
    total_ms = round((clock.monotonic_s() - began_s) * 1000)
    return record.report(found, state=EnvironmentState.READY, timings_ms={"total": total_ms})


def _covers(stack: Stack, spec: EnvironmentSpec) -> bool:
    """Whether the stack has a lease, as wanted, for every port, and no others."""
    leased = {(p.service, p.port_name, p.container_port, p.host_port if p.fixed else None) for p in stack.ports}
    wanted = {
        (name, port.name, port.container_port, port.host_port)
        for name, service in spec.services.items()
        for port in service.ports
    }
    return leased == wanted


def _refreshed(place: Place, before: EnvironmentRecord, reach: Mapping[str, Connection]) -> EnvironmentRecord | None:
    """The record, if it is still the one we looked at; `export` may have changed without any service changing."""
    now = place.find()
    if now is None or now.state is not EnvironmentState.READY or now.stack.id != before.stack.id:
        return None
    place.registry.touch(now.identity.name)
    current = variables(now.identity, now.stack.engine, place.spec, reach)
    if now.details.get("variables") == current:
        return now
    place.registry.set_state(now.identity.name, EnvironmentState.READY, details={**now.details, "variables": current})
    return place.find()


def _bring_up(
    place: Place, lock: locks.Lock, budget_s: float, progress: Progress, began_s: float, *, keep_failed: bool
) -> EnvironmentReport:
    found = place.find()
    if found is not None and found.state is EnvironmentState.REMOVING:
        progress.note("finishing the removal that another process left half done")
        teardown.remove(place.state, place.registry, found, place.engine(found), purge=False, keep_ports=True)
        found = place.find()
    fresh = found is None or found.state is EnvironmentState.CREATING
    engine = place.engine(found)
    place.identity()  # a broken configuration is told before the engine is asked
    capabilities = engine.capabilities()
    if found is None:
        found = _claim(place, engine, capabilities, progress)
    work = bringup.BringUp(place, engine, capabilities, found, lock, budget_s, progress)
    try:
        teardown.forget_failure(place, found.identity.name)
        done, plan = work.run()
    except BaseException as error:
        teardown.after_failure(place, found, engine, error, keep=keep_failed, fresh=fresh)
        raise
    timings = {**work.timings_ms, "total": round((clock.monotonic_s() - began_s) * 1000)}
    return record.report(done, timings_ms=timings, changes=plan.causes())


def _claim(place: Place, engine: Engine, capabilities: Capabilities, progress: Progress) -> EnvironmentRecord:
    """The intent: written down before anything is created."""
    spec = place.spec
    host, publish_address = bringup.addresses(spec, capabilities)
    if publish_address != LOOPBACK:
        progress.note(f"warning: ports are published on {publish_address}, where others may reach them")
    found, _ = place.registry.claim(
        place.identity(),
        engine=engine.name,
        endpoint=engine.address,
        host=host,
        publish_address=publish_address,
        config_file=spec.source,
        ttl_s=_ttl_s(place),
    )
    return found


def _ttl_s(place: Place) -> float | None:
    """Seconds to live: as configured; else without end on a workstation, and two hours in CI, where jobs get killed."""
    if place.spec.ttl_s is not None:
        return place.spec.ttl_s
    return _CI_TTL_S if place.checkout.ci else None


def dry_run(selection: Selection) -> str:
    """The plan `up` would follow, as text. Changes nothing, reserves nothing."""
    place = open_place(selection)
    return str(_provisional_plan(place))


def render(selection: Selection, *, inline_secrets: bool = False) -> str:
    """The Compose document, as YAML. Changes nothing.

    Args:
        selection: Which environment; where it is not up, ports are left to the engine.
        inline_secrets: Whether the secrets stand in the document, so that it works without any variable set.
    """
    from envctl.rendering import as_yaml

    place = open_place(selection)
    found = place.find()
    plan = _provisional_plan(place, observe=False)
    credentials = bringup.credentials_for(place.spec, found.stack.credentials if found else {})
    return as_yaml(plan.document, credentials, inline=inline_secrets)


def _provisional_plan(place: Place, *, observe: bool = True) -> Plan:
    found = place.find()
    engine = place.engine(found)
    if found is None:
        found = bringup.unclaimed(place, engine)
    capabilities = engine.capabilities() if observe else engine.capabilities(_recorded_version(found))
    observed = Observed()
    if observe:
        observed = engine.survey(found.stack, place.registry.registry_id, whole=True).result()
    asked = engine if observe else None
    facts = bringup.facts_for(place, found, found.stack, capabilities, observed, asked)
    return planner.plan(place.spec, facts)


def _recorded_version(found: EnvironmentRecord) -> str:
    return str(found.details.get("engine_version") or "25.0")


def recorded(selection: Selection) -> EnvironmentReport:
    """The environment as it was recorded when it became ready; asks no engine.

    Raises:
        EnvironmentNotFound: It was never ready, or is gone.
    """
    return record.report(open_place(selection).required())


def status(selection: Selection) -> EnvironmentReport:
    """The environment as it is now: asks the engine and probes each service once.

    Raises:
        EnvironmentNotFound: It was never ready, or is gone.
    """
    place = open_place(selection)
    found = place.required()
    engine = place.engine(found)
    survey = engine.survey(found.stack, place.registry.registry_id, whole=False)
    return observed_report(place, found, engine, survey)


def observed_report(place: Place, found: EnvironmentRecord, engine: Engine, survey: Survey) -> EnvironmentReport:
    """A record's report with what is true now."""
    observed = survey.result()
    reach, services = record.connections(found), record.services(found)
    target = bringup.EngineTarget(engine, found.stack, place.registry.registry_id)
    running = [
        name for name in services if name in observed.services and observed.services[name].state is ServiceState.RUNNING
    ]
    answers = check_once({name: probe_for(services[name], reach[name], target) for name in running}, _CHECK_LIMIT_S)
    states: dict[str, tuple[ServiceState, str]] = {}
    for name in services:
        seen = observed.services.get(name)
        if name in answers:
            ready = answers[name].verdict is Verdict.READY
            states[name] = (ServiceState.READY, "") if ready else (ServiceState.UNHEALTHY, answers[name].detail)
        elif seen is None:
            states[name] = (ServiceState.ABSENT, "not there")
        else:
            states[name] = (seen.state, f"exit code {seen.exit_code}" if seen.exit_code is not None else "")
    return record.report(found, state=_overall([state for state, _ in states.values()]), states=states)


def _overall(states: Sequence[ServiceState]) -> EnvironmentState:
    if all(state is ServiceState.READY for state in states):
        return EnvironmentState.READY
    if all(state in (ServiceState.ABSENT, ServiceState.EXITED, ServiceState.CREATED) for state in states):
        return EnvironmentState.STOPPED
    return EnvironmentState.DEGRADED


def logs(
    selection: Selection, services: Sequence[str], *, follow: bool, tail_lines: int | None, since: str | None
) -> Iterator[tuple[str, str]]:
    """Log lines as (service, line), raw: escape before printing.

    After a failed `up` that was rolled back, the log it kept of each service.

    Raises:
        ServiceNotFound: There is no such service.
        EnvironmentNotFound: There is no such environment.
    """
    from envctl.host.merge import merged

    place = open_place(selection)
    found = place.find()
    if found is None:
        yield from teardown.kept_logs(place, services, tail_lines)
        return
    engine = place.engine(found)
    seen = engine.survey(found.stack, place.registry.registry_id, whole=False).result().services
    wanted = services or tuple(seen)
    for name in wanted:
        if name not in seen:
            raise _no_service(name, tuple(seen))
    streams = {
        name: engine.logs(found.stack, name, seen[name].handle, follow=follow, tail_lines=tail_lines, since=since)
        for name in wanted
    }
    yield from merged(streams)


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
    place = open_place(selection)
    found = place.find()
    if found is None:
        raise place.not_found()
    engine = place.engine(found)
    seen = engine.survey(found.stack, place.registry.registry_id, whole=False).result().services
    if service not in seen:
        raise _no_service(service, tuple(seen))
    return engine.execute(seen[service].handle, command, tty=tty, stdin=stdin, variables=variables or {})


def _no_service(name: str, known: Sequence[str]) -> ServiceNotFound:
    return ServiceNotFound(
        f'the environment has no service "{name}"',
        cause=f"its services are: {', '.join(known)}" if known else "no service of it is there",
        fix=["envctl status", "envctl up, if it should be there"],
        subject={"service": name},
    )


def down(
    selection: Selection,
    *,
    progress: Progress,
    keep_ports: bool = False,
    purge: bool = False,
    timeout_s: float | None = None,
) -> Removal | None:
    """Remove the environment; None where there is none. Needs no configuration.

    Args:
        selection: Which environment.
        progress: Is told what happens.
        keep_ports: Whether its ports stay reserved for the next `up`.
        purge: Whether the data of `persist: true` services goes too.
        timeout_s: How long to wait for another process that works on it.

    Raises:
        Leftovers: Something could not be removed.
    """
    place = open_place(selection)
    if place.find() is None:
        return None
    limit_s = timeout_s if timeout_s is not None else 90.0
    with locks.environment_lock(
        place.state, place.lock_name, timeout_s=limit_s, purpose="envctl down", on_wait=progress.note
    ):
        found = place.find()
        if found is None:
            return None
        engine = place.engine(found)
        return teardown.remove(place.state, place.registry, found, engine, purge=purge, keep_ports=keep_ports)
