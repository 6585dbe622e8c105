"""The Compose engine: stacks as Docker Compose projects on one Docker Engine, local or remote."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from envctl import model
from envctl.engines.docker import endpoint
from envctl.engines.docker.endpoint import Endpoint
from envctl.errors import EngineTooOld
from envctl.host import clock

if TYPE_CHECKING:
    from envctl.engines.docker import objects
    from envctl.engines.docker.overview import Weighing
    from envctl.engines.docker.up import ComposeUp
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

# What only some operations need is imported by them: an `up` that finds everything in place must stay quick.

DOCUMENT = "compose.yaml"
_OLDEST_ENGINE = 23  # Compose 2.23.1, which inline configs need, asks for no older one
_START_INTERVAL_SINCE = 25
_BUILD_LIMIT_S = 1800.0
_PULL_LIMIT_S = 1800.0
_FIRST_CONTACT_LIMIT_S = 10.0  # an engine that takes longer to say its version hangs
_GRACE_S = 10  # for services whose data is kept


class ComposeEngine:
    """Docker Compose.

    Args:
        where: The Docker Engine.
    """

    name = "compose"
    runs_processes = False

    def __init__(self, where: Endpoint) -> None:
        self._where = where

    @property
    def address(self) -> str:
        """The engine's address, and the context it came from."""
        return str(self._where)

    def capabilities(self, version: str | None = None) -> Capabilities:
        """What this engine can do; asks for its version unless that is given.

        Raises:
            EngineUnavailable: It does not answer.
            EngineTooOld: It is older than 23.
        """
        if version is None:
            from envctl.engines.docker import cli

            arguments = ["version", "--format", "{{.Server.Version}}"]
            asked = cli.run(
                self._where, arguments, doing="ask for the engine's version", limit_s=_FIRST_CONTACT_LIMIT_S
            )
            version = asked.strip()
        major = int(version.split(".")[0]) if version.split(".")[0].isdigit() else _START_INTERVAL_SINCE
        if major < _OLDEST_ENGINE:
            raise EngineTooOld(
                f"Docker Engine {version} is too old",
                cause=f"envctl needs Docker Engine {_OLDEST_ENGINE} or newer",
                fix=["upgrade Docker Engine"],
                state="nothing was created",
            )
        return model.Capabilities(
            engine=self.name,
            version=version,
            start_interval=major >= _START_INTERVAL_SINCE,
            local=self._where.is_local,
            host=self._where.host,
            publish_address=self._where.host,
        )

    def seen_from_here(self, capabilities: Capabilities) -> Capabilities:
        """The same with the address to use; asks the engine where we may run in one of its containers."""
        from envctl.host import container

        if not (capabilities.local and container.is_inside()):
            return capabilities
        from envctl.engines.docker import vantage

        return vantage.seen_from_here(self._where, capabilities)

    def survey(self, stack: Stack, registry_id: str, *, whole: bool) -> objects.Look:
        """Begin a look at the stack."""
        from envctl.engines.docker import objects

        return objects.look(self._where, stack, registry_id, whole=whole)

    def running(self, registry_id: str) -> Mapping[str, Mapping[str, ServiceState]]:
        """The state of every service with the registry's labels, by stack id and service name."""
        from envctl.engines.docker import overview

        return overview.running(self._where, registry_id)

    def weigh(self, registry_id: str) -> Weighing:
        """Begin to find out what containers and volumes take on the engine's disk."""
        from envctl.engines.docker.overview import Weighing

        return Weighing(self._where, registry_id)

    def published(self, stack: Stack) -> Mapping[int, str]:
        """Host ports that containers outside the stack publish."""
        from envctl.engines.docker import objects

        return objects.published(self._where, stack.id)

    def programs(self, spec: EnvironmentSpec) -> Mapping[str, Program]:
        """None: everything runs in containers."""
        return {}

    def images_present(self, references: Sequence[str]) -> Mapping[str, bool]:
        """Which images the engine has."""
        return {reference: bool(found) for reference, found in self.image_ids(references).items()}

    def image_ids(self, references: Sequence[str]) -> Mapping[str, str]:
        """The id of each image, "" where it is absent."""
        from envctl.engines.docker import objects

        return objects.image_ids(self._where, references)

    def pull(self, image: str, source: str | None, services: Sequence[str], state: Path, progress: Progress) -> None:
        """Pull one image, under its own name or the mirror's."""
        from envctl.engines.docker import images, mirror
        from envctl.errors import ImageError
        from envctl.host import locks
        from envctl.plan import digest

        name = f"mirror-{digest.of(source)}"
        try:
            if source is None:
                images.pull(self._where, image, services, progress)
                return
            with locks.machine_lock(state, name, timeout_s=_PULL_LIMIT_S, purpose="pulling", on_wait=progress.note):
                mirror.pull(self._where, image, source, services, progress)
        except ImageError as error:
            if self.images_present([image])[image]:
                error.fix = (*error.fix, "or use the one the engine has: envctl up --pull missing")
            raise

    def prepare(self, plan: Plan, stack: Stack, folder: Path, observed: Observed, progress: Progress) -> None:
        """Images, removals and the document. The document holds no secret, but it is nobody else's business either.

        Raises:
            ImageError: An image cannot be had.
        """
        from envctl.host.files import write_atomic
        from envctl.plan.steps import Verb

        for image in plan.subjects(Verb.PULL):
            waiting = [name for name, service in _services(plan).items() if service["image"] == image]
            self.pull(image, plan.sources.get(image), waiting, folder.parent.parent, progress)
        for service in plan.subjects(Verb.BUILD):
            self._build(plan, service, folder, progress)
        self._remove_replaced(plan, stack, observed, progress)
        write_atomic(folder / DOCUMENT, document_text(plan.document))

    def start(self, plan: Plan, stack: Stack, folder: Path, initiator: Initiator) -> ComposeUp:
        """`docker compose up` for exactly the services of the plan's START steps."""
        from envctl.engines.docker.up import ComposeUp
        from envctl.plan import secrets
        from envctl.plan.steps import Verb

        return ComposeUp(
            self._where,
            stack,
            folder / DOCUMENT,
            plan.subjects(Verb.START),
            variables=secrets.environment(stack.credentials),
            initiator=initiator,
        )

    def watch(self, stack: Stack, report: Callable[[Death], None]) -> AbstractContextManager[None]:
        """Report containers of the stack that end."""
        from envctl.engines.docker import deaths

        return deaths.watch(self._where, stack.id, since_s=clock.now().timestamp(), report=report)

    def autopsy(self, stack: Stack, registry_id: str, service: str) -> Death:
        """Why a service is not running."""
        from envctl.engines.docker import deaths

        found = self.survey(stack, registry_id, whole=False).result().services.get(service)
        return deaths.autopsy(self._where, service, found.handle) if found else model.Death(service)

    def capture(self, stack: Stack, registry_id: str, service: str, key: str, folder: Path) -> tuple[str, int]:
        """Stop the service's container and keep it as an image."""
        from envctl.engines.docker import prepared

        found = self.survey(stack, registry_id, whole=False).result().services[service]
        return prepared.capture(self._where, found.handle, service, key, folder.parent)

    def discard(self, source: str) -> bool:
        """Remove an image of prepared data."""
        from envctl.engines.docker import prepared

        return prepared.remove(self._where, source)

    def sweep(self, store: Path, is_abandoned: Callable[[str, str], bool]) -> None:
        """Remove images that killed makers left."""
        from envctl.engines.docker import prepared

        prepared.sweep(self._where, store, is_abandoned)

    def remove(self, stack: Stack, registry_id: str, *, purge: bool, settled: bool) -> Removed:
        """Everything of the stack: containers, networks, volumes, the images built for it alone."""
        from envctl.engines.docker import removal

        return removal.remove(self._where, stack, registry_id, purge=purge, settled=settled)

    def find_all(self, registry_id: str) -> list[Found]:
        """Every stack with the registry's labels."""
        from envctl.engines.docker import labelled

        return labelled.find_all(self._where, self.name, registry_id)

    def logs(
        self, stack: Stack, service: str, handle: str, *, follow: bool, tail_lines: int | None, since: str | None
    ) -> Iterator[str]:
        """A container's log."""
        from envctl.engines.docker import programs

        return programs.logs(self._where, handle, follow=follow, tail_lines=tail_lines, since=since)

    def exec(self, handle: str, command: Sequence[str], limit_s: float) -> tuple[int, str]:
        """Run a program in a container."""
        from envctl.engines.docker import programs

        return programs.run_inside(self._where, handle, command, limit_s)

    def stream(
        self, handle: str, command: Sequence[str], *, stdin: BinaryIO | None = None, stdout: Writable | None = None
    ) -> tuple[int, str]:
        """Run a program in a container that reads or writes a file of ours."""
        from envctl.engines.docker import programs

        return programs.stream(self._where, handle, command, stdin=stdin, stdout=stdout)

    def execute(
        self, handle: str, command: Sequence[str], *, tty: bool, stdin: bool, variables: Mapping[str, str]
    ) -> int:
        """Run a program in a container on our standard streams."""
        from envctl.engines.docker import programs

        return programs.execute(self._where, handle, command, tty=tty, stdin=stdin, variables=variables)

    def _build(self, plan: Plan, service: str, folder: Path, progress: Progress) -> None:
        """Build once even where several environments need the same image at the same time."""
        from envctl.engines.docker import images
        from envctl.host import locks

        rendered = _services(plan)[service]
        name = f"image-{str(rendered['image']).replace(':', '-').replace('/', '-')}"
        progress.phase(service, "building")
        with locks.machine_lock(
            folder.parent.parent, name, timeout_s=_BUILD_LIMIT_S, purpose="building", on_wait=progress.note
        ):
            if not self.images_present([rendered["image"]])[rendered["image"]]:
                images.build(self._where, service, rendered, progress)

    def _remove_replaced(self, plan: Plan, stack: Stack, observed: Observed, progress: Progress) -> None:
        """Containers that will be created anew: Compose's own replacing would look like a death to who watches.

        A container that was created but never started goes too: Compose may have been killed before it had copied
        the secrets into it. One that has exited with the same definition is simply started again.
        """
        from envctl.engines.docker import deletion
        from envctl.plan.steps import Verb

        doomed: list[str] = []
        for name in (*plan.subjects(Verb.REMOVE), *plan.subjects(Verb.START)):
            found = observed.services.get(name)
            if found is None or found.handle in doomed:
                continue
            same = plan.digests.get(name) == found.digest and not found.image_moved
            if name in plan.subjects(Verb.REMOVE) or not same or found.state is not model.ServiceState.EXITED:
                progress.phase(name, "removing")
                doomed.append(found.handle)
        deletion.remove_containers(self._where, doomed, grace_s=_GRACE_S)
        volumes = [f"{stack.project}_{volume}" for volume in plan.subjects(Verb.DISCARD)]
        present = [name for name in volumes if name in observed.volumes]
        deletion.check(deletion.refusals(deletion.begin(self._where, "volume", present)))


def _services(plan: Plan) -> Mapping[str, Mapping[str, str]]:
    services: Mapping[str, Mapping[str, str]] = plan.document["services"]  # type: ignore[assignment]  # the document is ours
    return services


def document_text(document: Mapping[str, object]) -> str:
    """A Compose document as a file. JSON is YAML, and the standard library writes it without an import that costs."""
    import json

    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def create(environ: Mapping[str, str], address: str | None = None) -> ComposeEngine:
    """The engine at a recorded `address`, or the one the `docker` program would use."""
    return ComposeEngine(endpoint.parse(address) if address else endpoint.resolve(environ))
