"""What is asked for: a configuration, checked, with its defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from envctl.model.address import LOOPBACK

if TYPE_CHECKING:
    from envctl.model.data import DataCommand, ResetStrategy, SeedStep

EngineName = Literal["auto", "compose", "embedded", "swarm"]
PullPolicy = Literal["missing", "always", "never"]


@dataclass(frozen=True, slots=True)
class PortSpec:
    """A port a service listens on.

    Attributes:
        name: How the port is called in references, `{mailer.smtp.port}`; the main port comes first in its service.
        container_port: Where the service listens inside. A process listens on the leased port itself, and this only
            tells its ports apart: `auto` ones have numbers from 65536 on, which are no port's.
        host_port: A port fixed by the user, or None for a leased one. A fixed port is never replaced by another.
    """

    name: str
    container_port: int
    host_port: int | None = None


@dataclass(frozen=True, slots=True)
class HttpReady:
    """Ready when a GET of `path` answers with a status below 400, or exactly `status` where given."""

    path: str
    port: str | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class TcpReady:
    """Ready when a connection is accepted and not closed at once.

    Weak behind Docker's port proxy, which accepts before the service does; with `send` and `expect` (both as text)
    it becomes a real conversation.
    """

    port: str | None = None
    send: str | None = None
    expect: str | None = None


@dataclass(frozen=True, slots=True)
class LogReady:
    """Ready when a line of the service's log matches the regular expression `pattern`, `count` times."""

    pattern: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class ExecReady:
    """Ready when `command`, run inside the service, exits with 0."""

    command: tuple[str, ...]


Ready = HttpReady | TcpReady | LogReady | ExecReady


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """Storage mounted at `target`: a named volume, or one read-only file of the project.

    Attributes:
        name: The volume's name within the environment, or None for a file.
        file: Path of the file, relative to the project's root and inside it, or None for a volume.
        target: Absolute path inside the service.
        content: The file's text, read when the configuration was; it travels as a Compose config, so it also reaches
            a remote engine.
    """

    target: str
    name: str | None = None
    file: str | None = None
    content: str | None = None


@dataclass(frozen=True, slots=True)
class BuildSpec:
    """An image built from the repository.

    Attributes:
        context: Absolute path of the build context, inside the project.
        dockerfile: Path relative to the context, or None for `Dockerfile`.
        target: The stage to build, or None for the last.
        args: Build arguments.
        fingerprint: Changes when a file of the context changes (names, sizes, times); decides whether to build again.
    """

    context: str
    dockerfile: str | None = None
    target: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A program of the repository that runs from the working tree, under every engine.

    Attributes:
        command: Program and arguments; a shell line is ("/bin/sh", "-c", LINE).
        cwd: Absolute path of the folder it runs in, inside the project.
        stop_signal: Name of the signal that asks it to end.
        inputs: Patterns of the files it is made from, relative to the project's root.
        fingerprint: Changes when a file that matches `inputs` changes; then `up` starts the process again.
    """

    command: tuple[str, ...]
    cwd: str
    stop_signal: str = "SIGTERM"
    inputs: tuple[str, ...] = ()
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service as the user asked for it, checked, with its kind's defaults filled in.

    Attributes:
        name: The service's name, `[a-z][a-z0-9_-]*`; also its host name inside the stack.
        kind: Name of its kind (a folder of `envctl/kinds/`): "postgres", "redis", "websocket", or "generic".
        image: Image reference, or None where the image is built (by the user's `build` or by the kind's own folder).
        process: What runs instead of an image, or None.
        options: What only this kind understands: `database`, `user`, `path`, …
        environment: May hold `{postgres.url}`-style references.
        ports: The main port first; at least one for every kind but generic.
        ready: The user's own check, or None for the kind's handshake (generic: TCP on the main port, or running).
        memory_bytes: Limit, or None for the kind's default.
        persist: Whether the data survives `down`.
        pull: When its image is asked for at its registry, or None for what the configuration says for all.
        migrate: What brings its data up to the repository's schema, or None.
        seed: What fills it after that, in this order.
        reset: How its data is put back between tests.
    """

    name: str
    kind: str
    image: str | None = None
    build: BuildSpec | None = None
    process: ProcessSpec | None = None
    command: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[PortSpec, ...] = ()
    ready: Ready | None = None
    depends_on: tuple[str, ...] = ()
    volumes: tuple[VolumeSpec, ...] = ()
    memory_bytes: int | None = None
    persist: bool = False
    pull: PullPolicy | None = None
    migrate: DataCommand | None = None
    seed: tuple[SeedStep, ...] = ()
    reset: ResetStrategy = "auto"
    options: Mapping[str, str] = field(default_factory=dict)

    def port(self, name: str | None = None) -> PortSpec:
        """The port called `name`, or the main port. Raises KeyError for a name the service does not have."""
        if name is None:
            if not self.ports:
                raise KeyError(self.name)
            return self.ports[0]
        for port in self.ports:
            if port.name == name:
                return port
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """A whole `envctl.yaml`, checked, or the default of three services where there is none.

    Attributes:
        project: The configuration's `name`, or None for the repository folder's name.
        engine: The engine asked for.
        ttl_s: Lifetime in seconds, or None for the default (none on a workstation).
        ready_timeout_s: One deadline for the whole environment, seconds.
        services: By name, in the order of the file.
        export: Extra variables, values may hold references.
        publish_address: Host address on which ports are published; anything but loopback is the user's loud choice.
        engine_options: Settings of the engines: where the embedded one finds its programs (`postgres_bin`).
        pull: When images are asked for at their registry: when they are missing, whenever they are used, or never.
        registry_mirror: Where images of Docker Hub come from instead, "mirror.example:5000/hub", or None.
        snapshots: Whether prepared data is kept, and used by every later environment that wants the same.
        snapshots_unseeded: Whether that is so too where nothing is migrated or seeded; never without `snapshots`.
        snapshots_max_bytes: All prepared snapshots together take no more; those used longest ago go first.
        source: Absolute path of the configuration file, or None for the default.
    """

    services: Mapping[str, ServiceSpec]
    project: str | None = None
    engine: EngineName = "auto"
    ttl_s: float | None = None
    ready_timeout_s: float = 60.0
    export: Mapping[str, str] = field(default_factory=dict)
    publish_address: str = LOOPBACK
    engine_options: Mapping[str, str] = field(default_factory=dict)
    pull: PullPolicy = "missing"
    registry_mirror: str | None = None
    snapshots: bool = True
    snapshots_unseeded: bool = False
    snapshots_max_bytes: int = 5 * 1024**3
    source: str | None = None
