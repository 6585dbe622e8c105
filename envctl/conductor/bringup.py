"""Bringing one environment up, under its lock: reserve → observe → plan → perform and wait, at most a few rounds.

A round ends early when somebody else took a port or subnet between our choice and the engine's use of it; the next
round chooses another.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from envctl.conductor import gather, record, target
from envctl.conductor.data import dirty
from envctl.conductor.data.provenance import Provenance
from envctl.conductor.place import Place, keep_secret
from envctl.errors import EnvctlError, PortInUse, PortsExhausted, PortTaken, ServiceNotReady, SubnetTaken
from envctl.host import clock, paths, ports, subnets
from envctl.host.locks import Lock
from envctl.host.registry import EnvironmentRecord, WantedPort, port_scope
from envctl.model import (
    Capabilities,
    EnvironmentSpec,
    EnvironmentState,
    Observed,
    Readiness,
    ServiceState,
    Stack,
    Verdict,
)
from envctl.plan import connections, planner
from envctl.plan.steps import Plan, Verb
from envctl.plan.variables import variables
from envctl.ready.base import Probe
from envctl.ready.wait import ReadyEvent, Watch, wait_until_ready
from envctl.report import Initiator, Progress

if TYPE_CHECKING:
    from envctl.engines.base import Engine, Start

_ROUNDS = 5


@dataclass
class BringUp:
    """One `up` of one environment.

    Attributes:
        place: Where we stand.
        engine: The engine.
        capabilities: What it can do.
        found: The environment's record, claimed before anything is created.
        lock: The environment's lock, held.
        deadline_budget_s: Time for becoming ready, counted from the start of the services.
        progress: Is told what happens.
        origin: Where its data comes from.
    """

    place: Place
    engine: Engine
    capabilities: Capabilities
    found: EnvironmentRecord
    lock: Lock
    deadline_budget_s: float
    progress: Progress
    origin: Provenance
    timings_ms: dict[str, int] = field(default_factory=dict)

    def run(self) -> tuple[EnvironmentRecord, Plan]:
        """Bring it up and write it down.

        Raises:
            EnvctlError: It could not be brought up; what exists is the caller's to remove.
        """
        began_s = clock.monotonic_s()
        stack, plan, readiness = self._rounds()
        total_s = clock.monotonic_s() - began_s
        self.timings_ms["total"] = round(total_s * 1000)
        return self._write_down(stack, readiness), plan

    def _rounds(self) -> tuple[Stack, Plan, Mapping[str, Readiness]]:
        for _ in range(_ROUNDS):
            began_s = clock.monotonic_s()
            stack = self._reserve()
            look = self.engine.survey(stack, self.place.registry.registry_id, whole=True)
            facts = gather.facts_for(
                self.place, self.found, stack, self.capabilities, look, self.engine, self.origin, images=True
            )
            plan = planner.plan(self.place.spec, facts)
            self.timings_ms["plan"] = round((clock.monotonic_s() - began_s) * 1000)
            try:
                return stack, plan, self._perform(plan, stack, facts.observed)
            except PortTaken as taken:
                self._give_up_port(stack, taken)
            except SubnetTaken:
                self.place.registry.quarantine_subnet(self._scope, stack.subnet or "")
        raise self._exhausted()

    # -- reserving -----------------------------------------------------------------------------------------------

    @property
    def _scope(self) -> str:
        return port_scope(self.engine.address, local=self.capabilities.local)

    def _reserve(self) -> Stack:
        registry, spec, stack = self.place.registry, self.place.spec, self.found.stack
        credentials = gather.credentials_for(spec, stack.credentials)
        keep_secret(credentials)
        if credentials != stack.credentials:
            registry.set_credentials(stack.id, credentials)
        wanted = _wanted(spec)
        # Processes are on this machine, whosever the engine is.
        local = self.capabilities.local or any(service.process for service in spec.services.values())
        # Only a fixed port can be refused for good, and only then its holder's name is worth a question.
        taken = self.engine.published(stack) if any(want.fixed_host_port for want in wanted) else {}
        leases = registry.lease_ports(stack.id, wanted, scope=self._scope, taken=taken, bind_check=local)
        return replace(stack, subnet=self._subnet(stack), ports=leases, credentials=credentials)

    def _subnet(self, stack: Stack) -> str | None:
        if not self.capabilities.containers:
            return None
        avoid = subnets.host_networks() if self.capabilities.local else ()
        return self.place.registry.lease_subnet(stack.id, self._scope, avoid=avoid)

    def _give_up_port(self, stack: Stack, taken: PortTaken) -> None:
        """Quarantine the port the engine could not have; without its number, every port that was not fixed."""
        for lease in stack.ports:
            if taken.port not in (None, lease.host_port):
                continue
            if not lease.fixed:
                self.place.registry.quarantine_port(self._scope, lease.host_port)
            elif taken.port is not None:
                raise port_in_use(lease.service, lease.host_port, taken.text)

    def _exhausted(self) -> EnvctlError:
        return PortsExhausted(
            f"after {_ROUNDS} choices the engine still says that a port or subnet is in use",
            cause="another program takes ports of this range as fast as they are chosen",
            fix=["try again", "envctl doctor shows what holds ports of the range"],
        )

    # -- performing ----------------------------------------------------------------------------------------------

    def _perform(self, plan: Plan, stack: Stack, observed: Observed) -> Mapping[str, Readiness]:
        folder = self.place.folder(self.found.identity.name)
        paths.make_private(folder)
        starting = set(plan.subjects(Verb.START))
        if starting and self.found.state is EnvironmentState.READY:  # killed from here on, it may be half changed
            self.place.registry.set_state(self.found.identity.name, EnvironmentState.DEGRADED)
        # A guard would be in the way of a program that does not set SO_REUSEADDR, as the repository's own may not.
        guarded = {name for name in starting if self.place.spec.services[name].process is None}
        leases = [lease for lease in stack.ports if lease.service in guarded] if self.capabilities.local else []
        with ports.guards(leases, stack.publish_address):
            self.engine.prepare(plan, stack, folder, observed, self.progress)
            return self._start_and_wait(plan, stack, folder)

    def _start_and_wait(self, plan: Plan, stack: Stack, folder: Path) -> Mapping[str, Readiness]:
        began_s = clock.monotonic_s()
        deadline_s = began_s + self.deadline_budget_s
        watch = Watch()
        starting = plan.subjects(Verb.START)
        probes = self._probes(stack, starting)
        with self.engine.watch(stack, watch.report):
            if not starting:
                return wait_until_ready(probes, deadline_s=deadline_s, watch=watch, on_event=self._tell)
            initiator = Initiator(self.lock.fd, watch.started, watch.abort, self.progress)
            start = self.engine.start(plan, stack, folder, initiator)
            try:
                readiness = wait_until_ready(
                    probes,
                    deadline_s=deadline_s,
                    watch=watch,
                    starting=starting,
                    on_event=partial(self._tell, start=start),
                )
                start.wait()
            except BaseException as error:
                start.cancel()
                if isinstance(error, ServiceNotReady):
                    self._explain(error, stack)
                raise
            self.timings_ms["start"] = round((clock.monotonic_s() - began_s) * 1000)
            self._check_portless(stack)
        self._freshen(stack, starting)
        return readiness

    def _freshen(self, stack: Stack, started: Collection[str]) -> None:
        """What lives only for a time has aged in prepared data since that was made."""
        begun = [name for name in started if self.origin.sources.get(name)]
        if not begun:
            return
        from envctl.conductor.data import freshness

        reach = connections.outside(self.place.spec, stack)
        for name in begun:
            freshness.restore(reach[name])

    def _explain(self, error: ServiceNotReady, stack: Stack) -> None:
        from envctl.conductor import reaching

        error.fix = (*_listening(error, self.place.spec), *error.fix)
        reaching.explain(error, self.place.spec, stack, self.capabilities)

    def _probes(self, stack: Stack, starting: Collection[str]) -> dict[str, Probe]:
        reach = connections.outside(self.place.spec, stack)
        registry_id = self.place.registry.registry_id
        return target.probes(self.place.spec.services, reach, self.engine, stack, registry_id, starting=starting)

    def _check_portless(self, stack: Stack) -> None:
        """A service without ports has no probe but this: it still runs when all the others are ready."""
        silent = [name for name, service in self.place.spec.services.items() if not service.ports and not service.ready]
        if not silent:
            return
        registry_id = self.place.registry.registry_id
        seen = self.engine.survey(stack, registry_id, whole=False).result().services
        for name in silent:
            if name not in seen or seen[name].state is not ServiceState.RUNNING:
                from envctl.ready.failure import stopped

                raise stopped(self.engine.autopsy(stack, registry_id, name))

    def _tell(self, event: ReadyEvent, start: Start | None = None) -> None:
        ready = event.attempt.verdict is Verdict.READY
        if ready and start:
            start.ready(event.service)
        phase = "ready" if ready else "waiting"
        self.progress.phase(event.service, phase, event.attempt.detail)

    # -- writing down --------------------------------------------------------------------------------------------

    def _write_down(self, stack: Stack, readiness: Mapping[str, Readiness]) -> EnvironmentRecord:
        spec, identity = self.place.spec, self.found.identity
        reach = connections.outside(spec, stack)
        known = record.details(
            spec,
            reach,
            variables(identity, self.engine.name, spec, reach),
            engine_version=self.capabilities.version,
            ready_ms={name: found.ready_ms for name, found in readiness.items()},
            timings_ms=self.timings_ms,
        )
        if spec.source != self.found.config_file:  # what runs in it uses the same file
            self.place.registry.set_config_file(identity.name, spec.source)
        known |= dirty.kept(self.found) | self.origin.as_details()
        state = EnvironmentState.DIRTY if dirty.is_dirty(self.found) else EnvironmentState.READY
        self.place.registry.set_state(identity.name, state, details=known)
        found = self.place.registry.find(name=identity.name)
        if found is None:
            raise self.place.not_found()
        dirty.mark(self.place, found)
        return found


def port_in_use(service: str, port: int, text: str) -> PortInUse:
    """The error for a port fixed by the user, naming the holder where it can be known."""
    holder = ports.holder_of(port)
    return PortInUse(
        f'service "{service}" needs port {port}, but {holder or "another program"} has it',
        cause=text or None,
        fix=[f"stop {holder or 'the program that holds it'}", "or remove the fixed host port, so that one is leased"],
        subject={"service": service, "port": port, "holder": holder},
    )


def _listening(error: ServiceNotReady, spec: EnvironmentSpec) -> list[str]:
    """What a program of the repository that nobody can connect to may have overlooked."""
    service = spec.services.get(str(error.subject.get("service")))
    if service is None or service.process is None or error.cause != "connection refused":
        return []
    return [f"have {service.name} listen on 127.0.0.1, on the port in its variable PORT"]


def _wanted(spec: EnvironmentSpec) -> list[WantedPort]:
    return [
        WantedPort(name, port.name, port.container_port, port.host_port)
        for name, service in spec.services.items()
        for port in service.ports
    ]
