"""An engine in memory, for what the conductor does with an engine's answers. The real one is in tests/scenario."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from envctl.errors import EnvctlError
from envctl.model import Capabilities, Found, Identity, PortLease, Removed, ServiceState, Stack

ADDRESS = "unix:///var/run/docker.sock"


def identity(branch: str) -> Identity:
    """The identity of a branch's environment."""
    key = hashlib.sha256(branch.encode()).hexdigest()
    return Identity("shop", branch, "/home/me/shop", "", key, f"shop-{branch.replace('/', '-')}-{key[:8]}")


def found(branch: str, port: int, **changes: object) -> Found:
    """A stack that was found by its labels."""
    whose = identity(branch)
    stack = Stack(
        id=whose.key[:12],
        project=f"envctl-{whose.name}",
        engine="compose",
        endpoint=ADDRESS,
        subnet="10.213.4.16/28",
        ports=(PortLease("redis", "main", 6379, port),) if port else (),
        credentials={"redis": {"password": "p" * 32}},
    )
    values: dict[str, object] = {
        "identity": whose,
        "stack": stack,
        "config_file": None,
        "created_at": "2026-11-22T10:00:00+00:00",
        "expires_at": None,
        "only_data": False,
    }
    return Found(**(values | changes))  # type: ignore[arg-type]  # a test gives what it likes


@dataclass
class StandIn:
    """An engine that answers what a test gives it.

    Attributes:
        stacks: What `find_all` finds.
        states: What `running` tells.
        sizes: What `weigh` tells.
        failure: Raised by every question, where given.
        removed: Ids of the stacks that were removed.
        refuses: By stack id, what `remove` raises.
        runs_processes: Nothing is to be looked for beside it, whatever this machine holds.
    """

    stacks: list[Found] = field(default_factory=list)
    states: Mapping[str, Mapping[str, ServiceState]] = field(default_factory=dict)
    sizes: Mapping[str, int | None] | None = None
    failure: EnvctlError | None = None
    removed: list[str] = field(default_factory=list)
    refuses: dict[str, BaseException] = field(default_factory=dict)
    runs_processes: bool = True
    name: str = "compose"
    address: str = ADDRESS

    def _answer(self) -> None:
        if self.failure is not None:
            raise self.failure

    def capabilities(self, version: str | None = None) -> Capabilities:
        """Those of a new engine on this machine."""
        self._answer()
        return Capabilities(engine=self.name, version="29.0", start_interval=True, local=True, host="127.0.0.1")

    def seen_from_here(self, capabilities: Capabilities) -> Capabilities:
        """The same."""
        return capabilities

    def find_all(self, registry_id: str) -> list[Found]:
        """The stacks."""
        self._answer()
        return self.stacks

    def running(self, registry_id: str) -> Mapping[str, Mapping[str, ServiceState]]:
        """The states."""
        self._answer()
        return self.states

    def weigh(self, registry_id: str) -> StandIn:
        """Itself, which knows the result."""
        self._answer()
        return self

    def result(self, deadline_s: float) -> Mapping[str, int | None] | None:
        """The sizes."""
        return self.sizes

    def remove(self, stack: Stack, registry_id: str, *, purge: bool, settled: bool) -> Removed:
        """Note it."""
        self._answer()
        if stack.id in self.refuses:
            raise self.refuses[stack.id]
        self.removed.append(stack.id)
        return Removed({"container": 1})
