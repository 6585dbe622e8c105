"""An engine of containers, and beside it the repository's own programs as processes of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from envctl.engines.local.processes import Processes
from envctl.model import Capabilities, Death, EnvironmentSpec, Found, Observed, Program, Removed, ServiceState, Stack
from envctl.plan.steps import Plan, Step, Verb
from envctl.report import Initiator, Progress

if TYPE_CHECKING:
    from envctl.engines.base import Engine, Start, Survey, Weighing
    from envctl.engines.local.launch import Launch
    from envctl.host.streams import Writable


class Beside:
    """Both together, as one engine.

    Args:
        containers: What runs the containers.
        processes: What runs the processes.
    """

    def __init__(self, containers: Engine, processes: Processes) -> None:
        self._containers, self._processes = containers, processes
        self.name, self.address = containers.name, containers.address

    runs_processes = True

    # -- what only containers have a part in -----------------------------------------------------------------------

    def capabilities(self, version: str | None = None) -> Capabilities:
        """What the engine of containers can do."""
        return self._containers.capabilities(version)

    def seen_from_here(self, capabilities: Capabilities) -> Capabilities:
        """As the engine of containers has it; processes are always at 127.0.0.1."""
        return self._containers.seen_from_here(capabilities)

    def published(self, stack: Stack) -> Mapping[int, str]:
        """Host ports that other containers have."""
        return self._containers.published(stack)

    def programs(self, spec: EnvironmentSpec) -> Mapping[str, Program]:
        """None: what is not the repository's own runs in containers."""
        return self._containers.programs(spec)

    def images_present(self, references: Sequence[str]) -> Mapping[str, bool]:
        """Which images the engine of containers has."""
        return self._containers.images_present(references)

    def capture(self, stack: Stack, registry_id: str, service: str, key: str, folder: Path) -> tuple[str, int]:
        """Keep a container's data; what the repository's own programs write is theirs."""
        return self._containers.capture(stack, registry_id, service, key, folder)

    def discard(self, source: str) -> bool:
        """Remove what was kept of a container."""
        return self._containers.discard(source)

    def sweep(self, store: Path, is_abandoned: Callable[[str, str], bool]) -> None:
        """Remove what killed makers left of containers."""
        self._containers.sweep(store, is_abandoned)

    def image_ids(self, references: Sequence[str]) -> Mapping[str, str]:
        """Those of the engine of containers."""
        return self._containers.image_ids(references)

    def pull(self, image: str, source: str | None, services: Sequence[str], state: Path, progress: Progress) -> None:
        """Have the engine of containers get it."""
        self._containers.pull(image, source, services, state, progress)

    # -- looking ---------------------------------------------------------------------------------------------------

    def survey(self, stack: Stack, registry_id: str, *, whole: bool) -> _Both:
        """Look at both."""
        local = self._processes.survey(stack, registry_id, whole=whole).result()
        return _Both(self._containers.survey(stack, registry_id, whole=whole), local)

    def running(self, registry_id: str) -> Mapping[str, Mapping[str, ServiceState]]:
        """Containers and processes, by stack id and service name."""
        found = {stack: dict(services) for stack, services in self._containers.running(registry_id).items()}
        for stack, services in self._processes.running(registry_id).items():
            found[stack] = {**found.get(stack, {}), **services}
        return found

    def weigh(self, registry_id: str) -> _BothWeighing:
        """Weigh both."""
        return _BothWeighing(self._containers.weigh(registry_id), self._processes.weigh(registry_id))

    @contextmanager
    def watch(self, stack: Stack, report: Callable[[Death], None]) -> Iterator[None]:
        """Report the ends of both."""
        with self._containers.watch(stack, report), self._processes.watch(stack, report):
            yield

    def autopsy(self, stack: Stack, registry_id: str, service: str) -> Death:
        """Why a service is not running."""
        local = self._processes.survey(stack, registry_id, whole=False).result().services
        place = self._processes if service in local else self._containers
        return place.autopsy(stack, registry_id, service)

    def find_all(self, registry_id: str) -> list[Found]:
        """Every stack that has containers, and those of which only processes are left."""
        found = {one.stack.id: one for one in self._processes.find_all(registry_id, self.name)}
        return [*({**found, **{one.stack.id: one for one in self._containers.find_all(registry_id)}}).values()]

    # -- doing -----------------------------------------------------------------------------------------------------

    def prepare(self, plan: Plan, stack: Stack, folder: Path, observed: Observed, progress: Progress) -> None:
        """Both, each with its own part of the plan."""
        theirs = _of_containers(plan, observed)
        if theirs.steps:
            self._containers.prepare(theirs, stack, folder, _containers_of(observed), progress)
        self._processes.prepare(plan, stack, observed, progress)

    def start(self, plan: Plan, stack: Stack, folder: Path, initiator: Initiator) -> _BothStart:
        """Start both."""
        theirs = _of_containers(plan, Observed())
        with ExitStack() as undo:
            launch = self._processes.start(plan, stack, initiator)
            undo.callback(launch.cancel)
            start = None
            if theirs.subjects(Verb.START):
                start = self._containers.start(theirs, stack, folder, initiator)
            undo.pop_all()
        return _BothStart(launch, start)

    def remove(self, stack: Stack, registry_id: str, *, purge: bool, settled: bool) -> Removed:
        """The processes first: they use the containers."""
        local = self._processes.remove(stack, purge=purge)
        theirs = self._containers.remove(stack, registry_id, purge=purge, settled=settled)
        counts = {**local.counts, **theirs.counts}
        return Removed(counts, (*local.kept, *theirs.kept), (*local.left, *theirs.left))

    # -- inside ----------------------------------------------------------------------------------------------------

    def logs(
        self, stack: Stack, service: str, handle: str, *, follow: bool, tail_lines: int | None, since: str | None
    ) -> Iterator[str]:
        """A service's log."""
        if _is_local(handle):
            return self._processes.logs(handle, follow=follow, tail_lines=tail_lines, since=since)
        return self._containers.logs(stack, service, handle, follow=follow, tail_lines=tail_lines, since=since)

    def exec(self, handle: str, command: Sequence[str], limit_s: float) -> tuple[int, str]:
        """Run a program inside a service, or beside its process."""
        place = self._processes if _is_local(handle) else self._containers
        return place.exec(handle, command, limit_s)

    def stream(
        self, handle: str, command: Sequence[str], *, stdin: BinaryIO | None = None, stdout: Writable | None = None
    ) -> tuple[int, str]:
        """The same with files of ours as its streams."""
        place = self._processes if _is_local(handle) else self._containers
        return place.stream(handle, command, stdin=stdin, stdout=stdout)

    def execute(
        self, handle: str, command: Sequence[str], *, tty: bool, stdin: bool, variables: Mapping[str, str]
    ) -> int:
        """The same on our standard streams."""
        place = self._processes if _is_local(handle) else self._containers
        return place.execute(handle, command, tty=tty, stdin=stdin, variables=variables)


class _Both:
    """Two looks as one; the one at processes is over already."""

    def __init__(self, containers: Survey, processes: Observed) -> None:
        self._containers, self._processes = containers, processes

    def result(self) -> Observed:
        theirs, ours = self._containers.result(), self._processes
        return Observed(
            services={**theirs.services, **ours.services},
            networks=theirs.networks,
            volumes=(*theirs.volumes, *ours.volumes),
            foreign=theirs.foreign,
        )

    def end(self) -> None:
        self._containers.end()


class _BothWeighing:
    """Two weighings as one."""

    def __init__(self, containers: Weighing, processes: Weighing) -> None:
        self._containers, self._processes = containers, processes

    def result(self, deadline_s: float) -> Mapping[str, int | None] | None:
        ours = self._processes.result(deadline_s) or {}  # meanwhile the engine of containers works on the other
        theirs = self._containers.result(deadline_s)
        return (
            None
            if theirs is None
            else {stack: _sum(ours.get(stack, 0), theirs.get(stack, 0)) for stack in {*ours, *theirs}}
        )


def _sum(ours: int | None, theirs: int | None) -> int | None:
    return None if ours is None or theirs is None else ours + theirs


class _BothStart:
    """Two starts as one."""

    def __init__(self, processes: Launch, containers: Start | None) -> None:
        self._processes = processes
        self._parts: list[Start] = [processes, *([containers] if containers else [])]

    def ready(self, service: str) -> None:
        self._processes.ready(service)

    def wait(self) -> None:
        for part in self._parts:
            part.wait()

    def cancel(self) -> None:
        with ExitStack() as all_of_them:
            for part in self._parts:
                all_of_them.callback(part.cancel)


def _is_local(handle: str) -> bool:
    """Processes are known by the path of their folder, containers by their id."""
    return handle.startswith("/")


def _of_containers(plan: Plan, observed: Observed) -> Plan:
    """The plan without the steps of processes; a container whose service became a process is removed."""
    was_local = {name for name, service in observed.services.items() if _is_local(service.handle)}
    local = was_local | plan.processes.keys()
    ended = local | {f"{name}-data" for name in local}
    # One that was a process and becomes a container is ended here and started there.
    skipped = {
        **dict.fromkeys((Verb.REMOVE, Verb.DISCARD), ended),
        **dict.fromkeys((Verb.START, Verb.WAIT), plan.processes.keys()),
    }
    steps = [step for step in plan.steps if step.subject not in skipped.get(step.verb, ())]
    moved = plan.processes.keys() & observed.services.keys() - was_local
    steps += [Step(len(plan.steps) + 1, Verb.REMOVE, name, "is a process now") for name in sorted(moved)]
    return replace(plan, steps=tuple(steps), processes={})


def _containers_of(observed: Observed) -> Observed:
    """What was seen, without the processes."""
    services = {name: service for name, service in observed.services.items() if not _is_local(service.handle)}
    return replace(observed, services=services)
