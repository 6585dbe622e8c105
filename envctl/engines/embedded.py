"""The embedded engine: stacks as plain processes of this machine, for where there is no Docker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from envctl import kinds
from envctl.engines.local.processes import Processes
from envctl.host import paths
from envctl.model import Capabilities, EnvironmentSpec, Observed, Program, Stack

if TYPE_CHECKING:
    from envctl.engines.local.launch import Launch
    from envctl.model import Found, Removed
    from envctl.plan.steps import Plan
    from envctl.report import Initiator, Progress

_ADDRESS = "this machine"


class EmbeddedEngine:
    """Postgres, Redis and the bundled WebSocket server as processes, from the programs of this machine."""

    name = "embedded"
    address = _ADDRESS
    runs_processes = True

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._processes = Processes(paths.state_dir(environ), environ)
        self.survey = self._processes.survey
        self.running = self._processes.running
        self.weigh = self._processes.weigh
        self.autopsy = self._processes.autopsy
        self.watch = self._processes.watch
        self.exec = self._processes.exec
        self.stream = self._processes.stream
        self.execute = self._processes.execute

    def capabilities(self, version: str | None = None) -> Capabilities:
        """No containers, no images; ports are this machine's."""
        return Capabilities(
            engine=self.name, containers=False, builds=False, inline_configs=False, start_interval=False
        )

    def seen_from_here(self, capabilities: Capabilities) -> Capabilities:
        """The same: who runs the processes reaches them."""
        return capabilities

    def published(self, stack: Stack) -> Mapping[int, str]:
        """None: a port that another process has is found by trying it."""
        return {}

    def programs(self, spec: EnvironmentSpec) -> Mapping[str, Program]:
        """What serves each kind of the configuration here, as far as a kind can be served without a container."""
        needed = {service.kind for service in spec.services.values() if service.process is None}
        runners = {kind: kinds.native(kind) for kind in sorted(needed)}
        options = spec.engine_options
        return {kind: runner.find(options, self._environ) for kind, runner in runners.items() if runner is not None}

    def images_present(self, references: Sequence[str]) -> Mapping[str, bool]:
        """None is needed."""
        return dict.fromkeys(references, True)

    def image_ids(self, references: Sequence[str]) -> Mapping[str, str]:
        """There are none."""
        return {}

    def pull(self, image: str, source: str | None, services: Sequence[str], state: Path, progress: Progress) -> None:
        """There are none."""

    def prepare(self, plan: Plan, stack: Stack, folder: Path, observed: Observed, progress: Progress) -> None:
        """End what is replaced and write the definitions."""
        self._processes.prepare(plan, stack, observed, progress)

    def start(self, plan: Plan, stack: Stack, folder: Path, initiator: Initiator) -> Launch:
        """Start the processes of the plan's START steps."""
        return self._processes.start(plan, stack, initiator)

    def capture(self, stack: Stack, registry_id: str, service: str, key: str, folder: Path) -> tuple[str, int]:
        """End a service cleanly and pack its data into a file of `folder`."""
        return self._processes.capture(stack, service, folder)

    def discard(self, source: str) -> bool:
        """Files go with the folder that they are in, and nothing runs on them."""
        return True

    def sweep(self, store: Path, is_abandoned: Callable[[str, str], bool]) -> None:
        """Nothing of ours is outside of the store, which clears up after killed makers itself."""

    def remove(self, stack: Stack, registry_id: str, *, purge: bool, settled: bool) -> Removed:
        """Everything of the stack. A start that is still under way holds the environment's lock, so none is."""
        return self._processes.remove(stack, purge=purge)

    def find_all(self, registry_id: str) -> list[Found]:
        """Every embedded stack of the registry."""
        return self._processes.find_all(registry_id, self.name)

    def logs(
        self, stack: Stack, service: str, handle: str, *, follow: bool, tail_lines: int | None, since: str | None
    ) -> Iterator[str]:
        """A service's log."""
        return self._processes.logs(handle, follow=follow, tail_lines=tail_lines, since=since)


def create(environ: Mapping[str, str], _address: str | None = None) -> EmbeddedEngine:
    """The engine; it has no address but this machine."""
    return EmbeddedEngine(environ)
