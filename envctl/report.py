"""What is told about an environment: the values behind `up --format json`, `status` and `ls`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from envctl.model import Connection, EnvironmentState, Identity, ServiceState, Session


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """One service: how to reach it and how it is.

    Attributes:
        connection: How a test reaches it.
        state: What is true now (or was, when it was recorded).
        ready_ms: Time it took to become ready in the `up` that started it, milliseconds, or None.
        detail: One line, raw, of what was seen where it is not ready.
    """

    connection: Connection
    state: ServiceState
    ready_ms: int | None = None
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As printed under `services` in JSON; keys without a value are left out."""
        connection = self.connection
        known: dict[str, Any] = {
            "kind": connection.kind,
            "state": str(self.state),
            "host": connection.host,
            "port": connection.port,
            "url": connection.url,
            "ready_ms": self.ready_ms,
            "user": connection.user,
            "password": connection.password,
            "database": connection.database,
            "path": connection.path,
        }
        report = {key: value for key, value in known.items() if value is not None}
        if len(connection.ports) > 1:
            report["ports"] = dict(connection.ports)
        if self.detail:
            report["detail"] = self.detail
        return report


@dataclass(frozen=True, slots=True)
class EnvironmentReport:
    """One environment, whole.

    Attributes:
        identity: Whose it is.
        engine: The engine it runs on.
        state: Recorded (`env`, `ls`) or observed (`up`, `status`) state.
        created_at: ISO 8601, UTC.
        expires_at: ISO 8601, UTC, or None.
        services: By name, in the order of the configuration.
        variables: What tests read, in a stable order.
        timings_ms: Phases of the `up` that made this report, milliseconds.
        changes: What was done and why, one line each; empty when nothing had to be done.
        ephemeral: Whether it was made for sessions and goes with the last one.
        session: The session that began with the `up` that made this report, if one was asked for.
        sessions: Who uses it; with `ls` those that live, else as written down.
        last_used_at: ISO 8601, UTC, to the minute, or None.
        disk_bytes: What its data takes on disk, without images; None where that was not found out.
        dirty: What changes its data, or left it half changed: doing, since, pid, services; empty where nothing did.
        snapshot: Key of the prepared data it started from, or "".
    """

    identity: Identity
    engine: str
    state: EnvironmentState
    created_at: str
    expires_at: str | None = None
    services: Mapping[str, ServiceReport] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    timings_ms: Mapping[str, int] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    ephemeral: bool = False
    session: Session | None = None
    sessions: tuple[Session, ...] = ()
    last_used_at: str | None = None
    disk_bytes: int | None = None
    dirty: Mapping[str, Any] = field(default_factory=dict)
    snapshot: str = ""

    @property
    def user(self) -> str:
        """Who uses it, in words: "pytest (pid 4121) +2"; "" where nobody does. A run counts once, with its workers."""
        runs: dict[str, Session] = {}
        for session in self.sessions:
            runs.setdefault(session.id.partition(".")[0], session)
        first, *others = map(str, runs.values()) if runs else [""]
        return f"{first} +{len(others)}" if others else first

    def as_dict(self) -> dict[str, Any]:
        """As `--format json` prints it."""
        own: dict[str, Any] = {"session": self.session.id} if self.session else {}
        own |= {"dirty": dict(self.dirty)} if self.dirty else {}
        own |= {"snapshot": self.snapshot} if self.snapshot else {}
        return own | {
            "environment": self.identity.name,
            "project": self.identity.project,
            "branch": self.identity.branch,
            "engine": self.engine,
            "state": str(self.state),
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "services": {name: service.as_dict() for name, service in self.services.items()},
            "variables": dict(self.variables),
            "timings_ms": dict(self.timings_ms),
        }


@dataclass(frozen=True, slots=True)
class Removal:
    """What `down` did.

    Attributes:
        name: The environment's name.
        removed: Counts by noun: {"container": 3, "network": 1, "volume": 2, "port": 3}.
        kept: What was kept on purpose, one line each (volumes of `persist: true`).
    """

    name: str
    removed: Mapping[str, int] = field(default_factory=dict)
    kept: tuple[str, ...] = ()


def counted(counts: Mapping[str, int]) -> str:
    """Counts by noun as a list: "3 containers, 1 network, 2 processes"."""
    words = (f"{count} {noun if count == 1 else _plural(noun)}" for noun, count in counts.items() if count)
    return ", ".join(words)


def _plural(noun: str) -> str:
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


class Progress(Protocol):
    """Where long operations tell what they are doing. Implementations must be safe to call from several threads."""

    def phase(self, service: str, phase: str, detail: str = "") -> None:
        """`service` entered `phase`: pulling, building, creating, starting, waiting, ready, removing, failed.

        `detail` is one line, raw: escape it before printing. The same phase may be reported again with a newer detail
        (a pull's percentage, a probe's last answer).
        """
        ...

    def note(self, text: str) -> None:
        """One sentence a person should see once ("waiting for pid 4121 (envctl up, 37 s)")."""
        ...


class Initiator(NamedTuple):
    """Who has services started: what it lends, and what it wants to hear.

    Attributes:
        lock_fd: A lock the engine's child must keep held while it works, even if we are killed; -1 for none.
        started: Called from another thread for each service whose process and network are there.
        failed: Called from another thread as soon as starting has failed; with `PortTaken` or `SubnetTaken` where
            another choice would do.
        progress: Is told what happens.
    """

    lock_fd: int
    started: Callable[[str], None]
    failed: Callable[[BaseException], None]
    progress: Progress


class Silent:
    """A `Progress` that tells nothing."""

    def phase(self, service: str, phase: str, detail: str = "") -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
