"""The processes of a stack, in the words of the engine's contract: what the embedded engine is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from envctl.engines.local import folders, records
from envctl.model import Death, Observed, ServiceState, Stack
from envctl.report import Initiator, Progress

if TYPE_CHECKING:
    from envctl.engines.local.launch import Launch
    from envctl.engines.local.usage import Weighing
    from envctl.host.streams import Writable
    from envctl.model import Found, Removed
    from envctl.plan.steps import Plan


@dataclass(frozen=True, slots=True)
class Looked:
    """A look that is over: reading a few files takes less than a millisecond."""

    observed: Observed

    def result(self) -> Observed:
        """What was seen."""
        return self.observed

    def end(self) -> None:
        """Nothing is under way."""


class Processes:
    """The processes of the stacks of one state directory.

    Args:
        state: The state directory.
        environ: The caller's variables, which processes of the repository inherit.
    """

    def __init__(self, state: Path, environ: Mapping[str, str]) -> None:
        from envctl.engines.local.deaths import Deaths

        self._state, self._environ = state, environ
        self._deaths = Deaths()

    # -- looking ---------------------------------------------------------------------------------------------------

    def survey(self, stack: Stack, registry_id: str, *, whole: bool) -> Looked:
        """The stack's processes as they are now."""
        found = self._records(stack)
        services = {name: record.observed() for name, record in found.items() if record.process}
        data = tuple(f"{stack.project}_{name}-data" for name, one in found.items() if self._data(stack, one).is_dir())
        return Looked(Observed(services=services, volumes=data if whole else ()))

    def running(self, registry_id: str) -> Mapping[str, Mapping[str, ServiceState]]:
        """The state of every process, by stack id and service name."""
        root = folders.stacks(self._state)
        found = sorted(root.iterdir()) if root.is_dir() else []
        return {
            folder.name: {name: record.state for name, record in records.read_all(folder).items() if record.process}
            for folder in found
        }

    def weigh(self, registry_id: str) -> Weighing:
        """What every stack's files take."""
        from envctl.engines.local.usage import Weighing

        return Weighing(self._state)

    def autopsy(self, stack: Stack, registry_id: str, service: str) -> Death:
        """Why a process is not running."""
        from envctl.engines.local.deaths import autopsy

        record = self._records(stack).get(service)
        return autopsy(record) if record else Death(service)

    def watch(self, stack: Stack, report: Callable[[Death], None]) -> AbstractContextManager[None]:
        """Report processes of the stack that end."""
        return self._deaths.watch(self._records(stack).values(), report)

    def find_all(self, registry_id: str, engine: str) -> list[Found]:
        """Every stack of `engine` that has files here."""
        from envctl.engines.local import labelled

        return labelled.find_all(folders.stacks(self._state), engine, registry_id)

    def logs(self, handle: str, *, follow: bool, tail_lines: int | None, since: str | None) -> Iterator[str]:
        """A service's log."""
        from envctl.engines.local import log

        return log.lines(Path(handle), follow=follow, tail_lines=tail_lines, since=since)

    # -- doing -----------------------------------------------------------------------------------------------------

    def prepare(self, plan: Plan, stack: Stack, observed: Observed, progress: Progress) -> None:
        """End what is replaced, discard its data, write the definitions, make data folders ready."""
        from envctl.engines.local import labelled, removal
        from envctl.host import paths
        from envctl.plan.steps import Verb

        if not plan.processes and not observed.services:
            return
        found = self._records(stack)
        starting = [name for name in plan.subjects(Verb.START) if name in plan.processes]
        doomed = [
            name for name in dict.fromkeys((*plan.subjects(Verb.REMOVE), *plan.subjects(Verb.START))) if name in found
        ]
        for name in doomed:
            progress.phase(name, "removing")
        removal.end([found[name] for name in doomed], intact=lambda one: one.persists or one.name in starting)
        for name in doomed:
            if name not in plan.processes:
                removal.forget(self._state, found[name], keep_data=True)  # until `down`, as a volume is
        for volume in plan.subjects(Verb.DISCARD):
            name = volume.removesuffix("-data")
            if name in found:
                removal.discard(self._state, self._data(stack, found[name]))
        if not plan.processes:
            return
        root = folders.stack(self._state, stack.id)
        paths.make_private(root)
        labelled.write(root, stack, plan)
        for name in starting:
            paths.make_private(root / name)
            records.write_definition(root / name, plan.processes[name])

    def start(self, plan: Plan, stack: Stack, initiator: Initiator) -> Launch:
        """Begin to start the processes of the plan's START steps."""
        from envctl.engines.local.launch import Launch
        from envctl.engines.local.starting import Starting
        from envctl.plan.steps import Verb

        root = folders.stack(self._state, stack.id)
        names = [name for name in plan.subjects(Verb.START) if name in plan.processes]
        starts = [Starting.of(self._state, stack, root / name, plan.processes[name], self._environ) for name in names]
        return Launch(starts, self._deaths, initiator)

    def capture(self, stack: Stack, service: str, folder: Path) -> tuple[str, int]:
        """End a service cleanly and pack its data into a file of `folder`: the file's path, and its size in bytes."""
        from envctl.engines.local.capture import capture

        return capture(self._state, stack, self._records(stack).get(service), service, folder)

    def remove(self, stack: Stack, *, purge: bool) -> Removed:
        """End everything of the stack and remove its files; data of `persist: true` stays unless `purge`."""
        from envctl.engines.local import removal

        return removal.remove(self._state, stack, purge=purge)

    # -- inside ----------------------------------------------------------------------------------------------------

    def exec(self, handle: str, command: Sequence[str], limit_s: float) -> tuple[int, str]:
        """Run a program as the service would: its variables, its folder. Raises TimeoutError."""
        from envctl.engines.local import inside

        return inside.run(Path(handle), command, self._environ, limit_s)

    def stream(
        self, handle: str, command: Sequence[str], *, stdin: BinaryIO | None = None, stdout: Writable | None = None
    ) -> tuple[int, str]:
        """The same with files of ours as its streams."""
        from envctl.engines.local import inside

        return inside.stream(Path(handle), command, self._environ, stdin=stdin, stdout=stdout)

    def execute(
        self, handle: str, command: Sequence[str], *, tty: bool, stdin: bool, variables: Mapping[str, str]
    ) -> int:
        """The same on our standard streams."""
        from envctl.engines.local import inside

        return inside.execute(Path(handle), command, self._environ, stdin=stdin, variables=variables)

    # ----------------------------------------------------------------------------------------------------------------

    def _records(self, stack: Stack) -> dict[str, records.ProcessRecord]:
        return records.read_all(folders.stack(self._state, stack.id)) if stack.id else {}

    def _data(self, stack: Stack, record: records.ProcessRecord) -> Path:
        from envctl.engines.local import account

        return account.data_folder(self._state, stack.id, record.name, record.definition)
