"""The nouns: what is asked for, whose it is, what is reserved, what runs, and how to reach it.

Everything here is a frozen value. No clock, disk, network, process or environment variable is read in this file.
Quantities carry their unit in the name; secrets are masked in every `repr`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

LOOPBACK = "127.0.0.1"

EngineName = Literal["auto", "compose", "embedded", "swarm"]


# -- what is asked for ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PortSpec:
    """A port a service listens on.

    Attributes:
        name: How the port is called in references, `{mailer.smtp.port}`; the main port comes first in its service.
        container_port: Where the service listens inside.
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
class ServiceSpec:
    """One service as the user asked for it, checked, with its kind's defaults filled in.

    Attributes:
        name: The service's name, `[a-z][a-z0-9_-]*`; also its host name inside the stack.
        kind: Name of its kind (a folder of `envctl/kinds/`): "postgres", "redis", "websocket", or "generic".
        image: Image reference, or None where the image is built (by the user's `build` or by the kind's own folder).
        options: What only this kind understands: `database`, `user`, `path`, …
        environment: May hold `{postgres.url}`-style references.
        ports: The main port first; at least one for every kind but generic.
        ready: The user's own check, or None for the kind's handshake (generic: TCP on the main port, or running).
        memory_bytes: Limit, or None for the kind's default.
        persist: Whether the data survives `down`.
    """

    name: str
    kind: str
    image: str | None = None
    build: BuildSpec | None = None
    command: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[PortSpec, ...] = ()
    ready: Ready | None = None
    depends_on: tuple[str, ...] = ()
    volumes: tuple[VolumeSpec, ...] = ()
    memory_bytes: int | None = None
    persist: bool = False
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
        source: Absolute path of the configuration file, or None for the default.
    """

    services: Mapping[str, ServiceSpec]
    project: str | None = None
    engine: EngineName = "auto"
    ttl_s: float | None = None
    ready_timeout_s: float = 60.0
    export: Mapping[str, str] = field(default_factory=dict)
    publish_address: str = LOOPBACK
    source: str | None = None


# -- whose it is ---------------------------------------------------------------------------------------------------


class BranchSource(StrEnum):
    """Where the branch's name was found."""

    OPTION = "option"
    CI = "ci"
    GIT = "git"
    DETACHED = "detached"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Checkout:
    """Where we stand: facts about the repository, as found on this machine.

    Attributes:
        root: Absolute, resolved path of the work tree (or of the folder, without git).
        folder: Its last component, the project's default name. For a linked worktree: the main work tree's.
        branch: Branch name exactly as git or CI gives it; a detached head's short commit; "" where there is none.
        source: Where `branch` was found.
        ci: Name of the CI system ("github", "gitlab", …) or None.
    """

    root: str
    folder: str
    branch: str
    source: BranchSource
    ci: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose environment it is: project, branch, checkout and an optional second name beside the branch's.

    Attributes:
        project: The project's name as people write it.
        branch: The raw branch name; may hold any character git accepts, so never put it in a path, shell or template.
        checkout: Absolute path of the checkout.
        label: The `--name` option: a second environment beside the branch's, or "".
        key: SHA-256 (hex) over checkout, branch and label: the same three always give the same environment.
        name: Readable, unique, safe: `[a-z0-9-]+` ending in 8 hex digits of `key`. At most 48 characters.
    """

    project: str
    branch: str
    checkout: str
    label: str
    key: str
    name: str


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that owns a lease. A process id alone proves nothing: ids are used again.

    Attributes:
        boot_id: The kernel's boot id, "" where unknown.
        pid: Process id.
        start_ticks: Start time of the process since boot, in clock ticks, 0 where unknown.
    """

    boot_id: str
    pid: int
    start_ticks: int


# -- what is reserved ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PortLease:
    """A host port given to one port of one service until `down`."""

    service: str
    port_name: str
    container_port: int
    host_port: int
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs, apart from whose it is: a stack prepared ahead can later be given to an environment.

    Attributes:
        id: Random, 12 hex digits.
        project: Compose project name; also the prefix of every container, network and volume.
        engine: The engine it runs on.
        endpoint: The engine's address ("unix:///var/run/docker.sock"), so that `down` finds the same engine again.
        host: The address clients use, "127.0.0.1" for a local engine.
        publish_address: Address on which the engine publishes ports.
        subnet: Leased /28, or None to let the engine choose.
        ports: Its port leases.
        credentials: Per service, the random secrets: {"postgres": {"password": …}}.
    """

    id: str
    project: str
    engine: str
    endpoint: str
    host: str = LOOPBACK
    publish_address: str = LOOPBACK
    subnet: str | None = None
    ports: tuple[PortLease, ...] = ()
    credentials: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)

    def lease(self, service: str, port_name: str) -> PortLease | None:
        """The lease of one port of one service, or None."""
        return next((p for p in self.ports if p.service == service and p.port_name == port_name), None)


# -- what runs -----------------------------------------------------------------------------------------------------


class ServiceState(StrEnum):
    """What is true of one service now."""

    ABSENT = "absent"
    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    PAUSED = "paused"
    EXITED = "exited"


class EnvironmentState(StrEnum):
    """What is recorded or observed of a whole environment."""

    CREATING = "creating"
    READY = "ready"
    DEGRADED = "degraded"
    STOPPED = "stopped"
    REMOVING = "removing"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class ObservedService:
    """One service as the engine reports it.

    Attributes:
        name: The service's name.
        handle: The engine's own id of it (container id, or process id).
        state: What the engine says; RUNNING is the most an engine can know, READY is proven by a probe.
        digest: Digest of the definition it was created from.
        aspects: The parts of that definition, so that a change can be named.
        data_digest: Digest of what shaped its data.
        image_moved: Whether the image's name has been given to another image since.
        exit_code: Where it has exited.
        host_ports: Container port → host port, as published now.
    """

    name: str
    handle: str
    state: ServiceState
    digest: str
    aspects: Mapping[str, str] = field(default_factory=dict)
    data_digest: str = ""
    image_moved: bool = False
    exit_code: int | None = None
    host_ports: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observed:
    """One look at reality.

    Attributes:
        services: Ours, by name.
        networks: Names of our networks that exist.
        volumes: Names of our volumes that exist.
        foreign: Objects that have a name of ours but not our labels, as "volume shop-main-…_data".
    """

    services: Mapping[str, ObservedService] = field(default_factory=dict)
    networks: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Death:
    """A service that ended while it was waited for.

    Attributes:
        service: Its name.
        exit_code: Its exit code, or None where unknown.
        out_of_memory: Whether the kernel killed it at its memory limit.
        log_tail: Its last lines, raw; escape before printing.
        ran_s: How long it ran, seconds, or None.
    """

    service: str
    exit_code: int | None = None
    out_of_memory: bool = False
    log_tail: tuple[str, ...] = ()
    ran_s: float | None = None


class Verdict(StrEnum):
    """What one try of a probe found."""

    READY = "ready"
    NOT_YET = "not yet"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a probe: the verdict, and in one line what was seen ("connection refused")."""

    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """How the wait for one service ended.

    Attributes:
        service: Its name.
        ready_ms: Time from the start of the wait to the proof, milliseconds.
        attempts: How many tries were made.
        last: The newest answer.
    """

    service: str
    ready_ms: int
    attempts: int
    last: Attempt


# -- how to reach it -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connection:
    """How a test reaches one service.

    Attributes:
        service: The service's name.
        kind: Its kind.
        host: Address, never a name that could resolve to IPv6 for a service on IPv4.
        port: The main port, or None for a service without ports.
        url: Ready for the ecosystem's clients, password included; "" for a service without ports.
        user: User name, or None.
        password: Password or token, or None; masked in `repr`, as is `url`.
        database: Database name or number, or None.
        path: Path of the WebSocket or HTTP endpoint, or None.
        ports: Every port by name: name → host port.
    """

    service: str
    kind: str
    host: str
    port: int | None
    url: str = field(default="", repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    path: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do; the planner and the document read it instead of asking which engine it is.

    Attributes:
        engine: Its name.
        version: The engine's version, ("26", "1", "5") as "26.1.5", "" where unknown.
        custom_images: Whether any image can run.
        builds: Whether it can build images.
        inline_configs: Whether `configs: content:` works (Compose ≥ 2.23.1).
        start_interval: Whether a healthcheck's `start_interval` is honoured (Engine ≥ 25).
        local: Whether its ports are opened on this machine, so that they can be checked and guarded here.
        host: The address clients use.
    """

    engine: str
    version: str = ""
    custom_images: bool = True
    builds: bool = True
    inline_configs: bool = True
    start_interval: bool = True
    local: bool = True
    host: str = LOOPBACK
