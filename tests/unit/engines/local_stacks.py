"""Stacks of real processes for the tests of what ends, reads and removes them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envctl.engines.local import folders, records
from envctl.engines.local.processes import Processes
from envctl.engines.local.records import COOKIE_VARIABLE
from envctl.host import clock
from envctl.host.paths import ensure_state_dir
from envctl.model import Observed, PortLease, Stack
from envctl.plan.labels import LABEL_PREFIX
from envctl.plan.steps import Plan, Step, Verb
from envctl.report import Initiator, Silent

LIMIT_S = 10.0
REGISTRY = "registry-of-this-test"


def eventually(condition: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    """Wait until the condition is true."""
    deadline = clock.monotonic_s() + limit_s
    while not condition():
        assert clock.monotonic_s() < deadline, "waited in vain"
        clock.sleep_s(0.005)


def definition(*arguments: str, **changes: Any) -> dict[str, Any]:
    """What a plan says of a service that runs these arguments."""
    values: dict[str, Any] = {
        "arguments": list(arguments) or ["sleep", "1000"],
        "environment": {},
        "stdin": "",
        "ports": {},
        "depends_on": [],
        "persist": False,
        "stop_signal": "SIGTERM",
        "discard_signal": "SIGKILL",
        "inherits": True,
        "data": None,
        "cwd": "/",
    }
    return {**values, **changes}


@dataclass
class Stacks:
    """A state directory with stacks in it.

    Attributes:
        state: The state directory.
        environ: The caller's variables.
        made: Every stack.
    """

    state: Path
    environ: dict[str, str]
    made: list[Stack] = field(default_factory=list)

    def stack(self, **changes: Any) -> Stack:
        """A stack that has nothing yet."""
        values: dict[str, Any] = {
            "project": "envctl-shop-main-0123abcd",
            "engine": "embedded",
            "endpoint": "this machine",
            "ports": (PortLease("app", "main", 3000, 20431), PortLease("app", "debug", 9229, 20432, fixed=True)),
            "credentials": {"postgres": {"password": "secret-of-postgres"}, "app": {}},
        }
        made = Stack(id=os.urandom(6).hex(), **(values | changes))
        self.made.append(made)
        return made

    def folder(self, stack: Stack) -> Path:
        """Its folder."""
        return folders.stack(self.state, stack.id)

    def up(self, stack: Stack, services: Mapping[str, dict[str, Any]]) -> dict[str, records.ProcessRecord]:
        """Start services as `envctl up` does, and wait until their programs run."""
        for name, service in services.items():
            service["labels"] = {LABEL_PREFIX + key: value for key, value in self.labels(stack, name).items()}
        steps = tuple(Step(number, Verb.START, name, "not there") for number, name in enumerate(services, 1))
        plan = Plan("shop-main-0123abcd", "embedded", steps, processes=services)
        processes = Processes(self.state, self.environ)
        processes.prepare(plan, stack, Observed(), Silent())
        failures: list[BaseException] = []
        start = processes.start(plan, stack, Initiator(-1, lambda _: None, failures.append, Silent()))
        start.wait()
        assert not failures
        return self.records(stack)

    def labels(self, stack: Stack, service: str) -> dict[str, str]:
        """The labels of one service, without prefix."""
        known = {"registry": REGISTRY, "environment": "shop-main-0123abcd", "stack": stack.id, "key": "k" * 64}
        whose = {"project": "shop", "branch": "main", "checkout": "/home/me/shop", "label": "", "config": ""}
        times = {"created": "2026-11-22T10:00:00+00:00", "expires": ""}
        return {**known, **whose, **times, "service": service, "kind": "generic", "digest": "d" * 12, "aspects": "{}"}

    def records(self, stack: Stack) -> dict[str, records.ProcessRecord]:
        """What is written down of its services."""
        return records.read_all(self.folder(stack))

    def carriers(self, stack: Stack) -> set[int]:
        """Every process that can be told to be the stack's by its variables."""
        return {pid for pid in _pids() if f"{COOKIE_VARIABLE}={stack.id}-".encode() in _read(pid, "environ")}

    def keepers(self, stack: Stack) -> set[int]:
        """The processes that keep its services."""
        return {record.keeper.pid for record in self.records(stack).values() if record.keeper}

    def end(self) -> None:
        """Kill all that is left, whatever became of what is tested."""
        for stack in self.made:
            for pid in {*self.carriers(stack), *self.keepers(stack)}:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@contextmanager
def stacks_in(folder: Path) -> Iterator[Stacks]:
    """Stacks in a state directory below `folder`; nothing of them lives longer than the block."""
    made = Stacks(ensure_state_dir(folder / "state"), dict(os.environ))
    try:
        yield made
    finally:
        made.end()


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return bool(fields) and fields[0] not in (b"Z", b"X")


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _read(pid: int, name: str) -> bytes:
    try:
        return (Path("/proc") / str(pid) / name).read_bytes()
    except OSError:
        return b""
