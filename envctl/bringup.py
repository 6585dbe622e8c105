"""Bringing one environment up, under its lock: reserve → observe → plan → perform and wait, at most a few rounds.

A round ends early when somebody else took a port or subnet between our choice and the engine's use of it; the next
round chooses another.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from envctl import kinds, record
from envctl.engines.base import Engine, PortTaken, SubnetTaken
from envctl.errors import EnvctlError, PortInUse, PortsExhausted
from envctl.host import assets, clock, owner, paths, ports, subnets
from envctl.host.locks import Lock
from envctl.host.registry import EnvironmentRecord, WantedPort, port_scope
from envctl.model import (
    LOOPBACK,
    Capabilities,
    EnvironmentSpec,
    EnvironmentState,
    Observed,
    Readiness,
    ServiceState,
    Stack,
)
from envctl.place import Place, owner_name
from envctl.plan import connections, planner
from envctl.plan.document import image_of
from envctl.plan.facts import Facts, KindAssets
from envctl.plan.steps import Plan, Verb
from envctl.plan.variables import variables
from envctl.ready.base import Probe
from envctl.ready.factory import probe_for
from envctl.ready.wait import ReadyEvent, Watch, wait_until_ready
from envctl.report import Progress

_ROUNDS = 5


@dataclass
class EngineTarget:
    """What probes may ask of the engine about one stack."""

    engine: Engine
    stack: Stack
    registry_id: str
    handles: dict[str, str] = field(default_factory=dict)

    def handle(self, service: str) -> str:
        """The engine's id of a service. Raises KeyError where it is not there."""
        if service not in self.handles:
            found = self.engine.survey(self.stack, self.registry_id, whole=False).result()
            self.handles = {name: seen.handle for name, seen in found.services.items()}
        return self.handles[service]

    def logs(self, service: str) -> str:
        """The service's whole log."""
        with suppress(KeyError):
            handle = self.handle(service)
            lines = self.engine.logs(self.stack, service, handle, follow=False, tail_lines=None, since=None)
            return "\n".join(lines)
        return ""

    def exec(self, service: str, argv: Sequence[str], limit_s: float) -> tuple[int, str]:
        """Run a program inside the service."""
        try:
            return self.engine.exec(self.handle(service), argv, limit_s)
        except KeyError:
            return 1, "the service is not there yet"


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
    """

    place: Place
    engine: Engine
    capabilities: Capabilities
    found: EnvironmentRecord
    lock: Lock
    deadline_budget_s: float
    progress: Progress
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
            observed = self.engine.survey(stack, self.place.registry.registry_id, whole=True).result()
            facts = self._facts(stack, observed)
            plan = planner.plan(self.place.spec, facts)
            self.timings_ms["plan"] = round((clock.monotonic_s() - began_s) * 1000)
            try:
                return stack, plan, self._perform(plan, stack, observed)
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
        credentials = credentials_for(spec, stack.credentials)
        if credentials != stack.credentials:
            registry.set_credentials(stack.id, credentials)
        local, wanted = self.capabilities.local, _wanted(spec)
        # Only a fixed port can be refused for good, and only then its holder's name is worth a question.
        taken = self.engine.published(stack) if any(want.fixed_host_port for want in wanted) else {}
        leases = registry.lease_ports(stack.id, wanted, scope=self._scope, taken=taken, bind_check=local)
        subnet = registry.lease_subnet(stack.id, self._scope, avoid=subnets.host_networks() if local else ())
        return replace(stack, subnet=subnet, ports=leases, credentials=credentials)

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

    # -- deciding ------------------------------------------------------------------------------------------------

    def _facts(self, stack: Stack, observed: Observed) -> Facts:
        return facts_for(self.place, self.found, stack, self.capabilities, observed, self.engine)

    # -- performing ----------------------------------------------------------------------------------------------

    def _perform(self, plan: Plan, stack: Stack, observed: Observed) -> Mapping[str, Readiness]:
        folder = self.place.folder(self.found.identity.name)
        paths.make_private(folder)
        starting = set(plan.subjects(Verb.START))
        leases = [lease for lease in stack.ports if lease.service in starting] if self.capabilities.local else []
        with ports.guards(leases, stack.publish_address):
            self.engine.prepare(plan, stack, folder, observed, self.progress)
            return self._start_and_wait(plan, stack, folder)

    def _start_and_wait(self, plan: Plan, stack: Stack, folder: Path) -> Mapping[str, Readiness]:
        began_s = clock.monotonic_s()
        deadline_s = began_s + self.deadline_budget_s
        watch = Watch()
        probes = self._probes(stack)
        with self.engine.watch(stack, watch.report):
            if not plan.subjects(Verb.START):
                return wait_until_ready(probes, deadline_s=deadline_s, watch=watch, on_event=self._tell)
            start = self.engine.start(
                plan,
                stack,
                folder,
                lock_fd=self.lock.fd,
                started=watch.started,
                failed=watch.abort,
                progress=self.progress,
            )
            try:
                readiness = wait_until_ready(
                    probes,
                    deadline_s=deadline_s,
                    watch=watch,
                    starting=plan.subjects(Verb.START),
                    on_event=self._tell,
                )
                start.wait()
            except BaseException:
                start.cancel()
                raise
            self.timings_ms["start"] = round((clock.monotonic_s() - began_s) * 1000)
            self._check_portless(stack)
        return readiness

    def _probes(self, stack: Stack) -> dict[str, Probe]:
        target = EngineTarget(self.engine, stack, self.place.registry.registry_id)
        reach = connections.outside(self.place.spec, stack)
        return {name: probe_for(service, reach[name], target) for name, service in self.place.spec.services.items()}

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

    def _tell(self, event: ReadyEvent) -> None:
        phase = "ready" if event.attempt.verdict == "ready" else "waiting"
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
        self.place.registry.set_state(identity.name, EnvironmentState.READY, details=known)
        found = self.place.registry.find(name=identity.name)
        if found is None:
            raise self.place.not_found()
        return found


def facts_for(
    place: Place,
    found: EnvironmentRecord,
    stack: Stack,
    capabilities: Capabilities,
    observed: Observed,
    engine: Engine | None = None,
) -> Facts:
    """What the planner may know. With an `engine`, it is asked which images it has."""
    spec = place.spec
    needed = {service.kind for service in spec.services.values()} | {kinds.GENERIC}
    facts = Facts(
        identity=found.identity,
        stack=stack,
        capabilities=capabilities,
        assets={kind: _assets(kind) for kind in needed},
        labels=_labels(place, found),
        observed=observed,
    )
    if engine is None:
        return facts
    images = engine.images_present([image_of(service, facts) for service in spec.services.values()])
    return replace(facts, images=images)


def port_in_use(service: str, port: int, text: str) -> PortInUse:
    """The error for a port fixed by the user, naming the holder where it can be known."""
    holder = ports.holder_of(port)
    return PortInUse(
        f'service "{service}" needs port {port}, but {holder or "another program"} has it',
        cause=text or None,
        fix=[f"stop {holder or 'the program that holds it'}", "or remove the fixed host port, so that one is leased"],
        subject={"service": service, "port": port, "holder": holder},
    )


def addresses(spec: EnvironmentSpec, capabilities: Capabilities) -> tuple[str, str]:
    """The address clients use, and the one ports are published on.

    Loopback, unless the user chose otherwise. A remote engine's loopback is of no use to us: there it is the address
    at which the engine itself is reached, and no other.
    """
    if spec.publish_address == LOOPBACK:
        return capabilities.host, capabilities.host
    everywhere = spec.publish_address in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    return (capabilities.host if everywhere else spec.publish_address), spec.publish_address


def unclaimed(place: Place, engine: Engine) -> EnvironmentRecord:
    """What the record would be, for a plan that is only shown. Its ports are left to the engine."""
    now = clock.now()
    identity = place.identity()
    stack = Stack(id="", project=f"envctl-{identity.name}", engine=engine.name, endpoint=engine.address)
    return EnvironmentRecord(
        identity=identity,
        state=EnvironmentState.CREATING,
        stack=stack,
        config_file=place.spec.source,
        created_at=now,
        expires_at=None,
        last_used_at=now,
        owner=owner.current(),
    )


def _wanted(spec: EnvironmentSpec) -> list[WantedPort]:
    return [
        WantedPort(name, port.name, port.container_port, port.host_port)
        for name, service in spec.services.items()
        for port in service.ports
    ]


def credentials_for(spec: EnvironmentSpec, known: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The known secrets of the services there are, and 128 random bits for each that is missing."""
    return {
        name: {secret: known.get(name, {}).get(secret) or os.urandom(16).hex() for secret in secrets}
        for name, service in spec.services.items()
        if (secrets := kinds.get(service.kind).secrets)
    }


def _assets(kind: str) -> KindAssets:
    bundled = kinds.get(kind).bundled
    return KindAssets(
        fragment=assets.fragment(kind),
        healthcheck=assets.healthcheck(kind),
        folder=str(assets.folder(kind)),
        digest=assets.folder_digest(kind) if bundled else "",
    )


def _labels(place: Place, found: EnvironmentRecord) -> dict[str, str]:
    """What everything created carries: enough to know whose it is when the registry is lost."""
    identity = found.identity
    return {
        "registry": place.registry.registry_id,
        "environment": identity.name,
        "stack": found.stack.id,
        "key": identity.key,
        "project": identity.project,
        "branch": identity.branch,
        "checkout": identity.checkout,
        "label": identity.label,
        "config": found.config_file or "",
        "owner": owner_name(),
        "created": found.created_at.isoformat(timespec="seconds"),
        "expires": found.expires_at.isoformat(timespec="seconds") if found.expires_at else "",
    }
