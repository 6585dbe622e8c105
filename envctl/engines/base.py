"""The contract of an engine: it does what a plan says, and decides nothing.

Imported for its types alone: making these classes costs Python 10 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

from envctl.host.streams import Writable
from envctl.model import (
    Capabilities,
    Death,
    EnvironmentSpec,
    Found,
    Observed,
    Program,
    Removed,
    ServiceState,
    Stack,
)
from envctl.plan.steps import Plan
from envctl.report import Initiator, Progress


class Survey(Protocol):
    """A look at the engine that is under way while we do other things."""

    def result(self) -> Observed:
        """Wait for it."""
        ...

    def end(self) -> None:
        """Give it up; after `result` this does nothing."""
        ...


class Weighing(Protocol):
    """The sizes of all stacks, which are being found out while we do other things."""

    def result(self, deadline_s: float) -> Mapping[str, int | None] | None:
        """Bytes by stack id, None for one whose size is not known by then; None where no size is.

        Args:
            deadline_s: Until when to wait, on the monotonic clock.
        """
        ...


class Start(Protocol):
    """Services that are being started while we already probe them."""

    def ready(self, service: str) -> None:
        """A service was proven ready: what depends on it may start, where the engine does not see to that itself."""
        ...

    def wait(self) -> None:
        """Until the engine has done its part. Raises what went wrong, `PortTaken` and `SubnetTaken` among it."""
        ...

    def cancel(self) -> None:
        """Stop starting. What was created stays; `remove` takes it away."""
        ...


class Engine(Protocol):
    """One way to run a stack."""

    @property
    def name(self) -> str:
        """As in `--engine`."""
        ...

    @property
    def address(self) -> str:
        """As recorded in the stack, so that a later command finds the same engine."""
        ...

    @property
    def runs_processes(self) -> bool:
        """Whether it also runs processes of this machine; else `local.with_processes` adds them."""
        ...

    def capabilities(self, version: str | None = None) -> Capabilities:
        """What it can do. With the `version` that was recorded the engine is not asked."""
        ...

    def seen_from_here(self, capabilities: Capabilities) -> Capabilities:
        """The same capabilities, with the address at which clients who stand where we do find published ports."""
        ...

    def survey(self, stack: Stack, registry_id: str, *, whole: bool) -> Survey:
        """Begin to look at a stack: its services, or (`whole`) also its networks, volumes and foreign objects."""
        ...

    def running(self, registry_id: str) -> Mapping[str, Mapping[str, ServiceState]]:
        """The state of every service with the registry's labels, by stack id and service name."""
        ...

    def weigh(self, registry_id: str) -> Weighing:
        """Begin to find out what every stack with the registry's labels takes on disk, images left out."""
        ...

    def published(self, stack: Stack) -> Mapping[int, str]:
        """Host ports that others than this stack have through the engine, each with its holder in words."""
        ...

    def programs(self, spec: EnvironmentSpec) -> Mapping[str, Program]:
        """Kind → the program of this machine that serves it; empty for an engine of containers.

        Raises:
            EngineNotInstalled: A kind of the configuration has none here.
        """
        ...

    def images_present(self, references: Sequence[str]) -> Mapping[str, bool]:
        """Which images are there."""
        ...

    def image_ids(self, references: Sequence[str]) -> Mapping[str, str]:
        """The id of each image, "" for one that is absent; empty for an engine without images."""
        ...

    def pull(self, image: str, source: str | None, services: Sequence[str], state: Path, progress: Progress) -> None:
        """Get an image from its registry, also where there is one of this name already.

        Args:
            image: Its reference.
            source: The reference under which a mirror has it; None for its own.
            services: The services that wait for it, for the progress.
            state: The state directory.
            progress: Is told how far it is.

        Raises:
            ImageError: It cannot be had.
        """
        ...

    def prepare(self, plan: Plan, stack: Stack, folder: Path, observed: Observed, progress: Progress) -> None:
        """Do the plan's steps up to START: get images, remove, discard, write the document into `folder`."""
        ...

    def start(self, plan: Plan, stack: Stack, folder: Path, initiator: Initiator) -> Start:
        """Begin the START steps.

        Args:
            plan: The plan.
            stack: Its leases and credentials.
            folder: Where `prepare` put the document.
            initiator: What is lent, and who is told.
        """
        ...

    def watch(self, stack: Stack, report: Callable[[Death], None]) -> AbstractContextManager[None]:
        """Report each service that ends while the block runs, from another thread."""
        ...

    def autopsy(self, stack: Stack, registry_id: str, service: str) -> Death:
        """Why a service is not running."""
        ...

    def capture(self, stack: Stack, registry_id: str, service: str, key: str, folder: Path) -> tuple[str, int]:
        """Stop a service cleanly and keep its data for others to start from.

        Args:
            stack: The stack.
            registry_id: The registry's id.
            service: The service; its data was settled.
            key: Of everything that shaped the data.
            folder: Where files of it go.

        Returns:
            What others start from (the reference of an image, the absolute path of a file), and its size in bytes.

        Raises:
            EnvctlError: It cannot be kept; the disk may be full.
        """
        ...

    def discard(self, source: str) -> bool:
        """Remove what `capture` gave; False where something still runs on it."""
        ...

    def sweep(self, store: Path, is_abandoned: Callable[[str, str], bool]) -> None:
        """Remove what `capture` gave to makers of a store that were killed.

        Args:
            store: The store's folder.
            is_abandoned: Tells it by a snapshot's key and what `capture` gave.
        """
        ...

    def remove(self, stack: Stack, registry_id: str, *, purge: bool, settled: bool) -> Removed:
        """Remove everything of a stack, found by its labels.

        Args:
            stack: The stack.
            registry_id: Only what also carries this id is touched.
            purge: Whether persistent volumes go too.
            settled: Whether nothing can still be appearing; otherwise the engine is asked again until nothing is left,
                because it may be finishing a creation whose client was killed.
        """
        ...

    def find_all(self, registry_id: str) -> list[Found]:
        """Every stack that carries the registry's labels."""
        ...

    def logs(
        self, stack: Stack, service: str, handle: str, *, follow: bool, tail_lines: int | None, since: str | None
    ) -> Iterator[str]:
        """A service's log lines, raw."""
        ...

    def exec(self, handle: str, command: Sequence[str], limit_s: float) -> tuple[int, str]:
        """Run a program inside a service: exit code and output. Raises TimeoutError."""
        ...

    def stream(
        self, handle: str, command: Sequence[str], *, stdin: BinaryIO | None = None, stdout: Writable | None = None
    ) -> tuple[int, str]:
        """Run a program inside a service that reads one of our files, or writes one: exit code, and what it complains.

        Only one of both can be given. However long it takes.
        """
        ...

    def execute(
        self, handle: str, command: Sequence[str], *, tty: bool, stdin: bool, variables: Mapping[str, str]
    ) -> int:
        """Run a program in a service on our standard streams; its exit code. Values of `variables` stay out of argv."""
        ...
