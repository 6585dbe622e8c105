"""What is written down of a service's process, and what is true of it now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envctl.host import owner
from envctl.host.files import write_atomic
from envctl.model import ObservedService, Owner, ServiceState
from envctl.plan.labels import LABEL_PREFIX

_UNKEPT = "runs, but its keeper is gone, and with it its log"
DEFINITION, PROCESS, EXIT = "definition.json", "process.json", "exit.json"

COOKIE_VARIABLE = "ENVCTL_PROCESS"
"""In the environment of every process of a service: what finds it when its parents and the keeper are gone.

Its value, the cookie, is the stack's id, a hyphen, and random digits of this start.
"""


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One service, as its files tell.

    Attributes:
        folder: The service's folder.
        definition: What was asked for (`plan.processes`); empty where the file is damaged.
        process: The service's first process, or None where it was not started, or not yet.
        keeper: The process that passes its output on and notes its end, or None likewise.
        cookie: In the environment of each of its processes, as ENVCTL_PROCESS; "" where nothing was started.
        started_at_s: When it was started, seconds since 1970, or None.
        ended_at_s: When it ended, or None where it has not, or nobody saw it.
        exit_code: Its exit code, 128 + signal where a signal ended it, or None likewise.
    """

    folder: Path
    definition: Mapping[str, Any]
    process: Owner | None = None
    keeper: Owner | None = None
    cookie: str = ""
    started_at_s: float | None = None
    ended_at_s: float | None = None
    exit_code: int | None = None

    @property
    def name(self) -> str:
        """The service's name."""
        return self.folder.name

    @property
    def persists(self) -> bool:
        """Whether its data is to outlive it."""
        return bool(self.definition.get("persist"))

    def label(self, name: str) -> str:
        """One of its labels, or ""."""
        return str(self.definition.get("labels", {}).get(LABEL_PREFIX + name, ""))

    @property
    def state(self) -> ServiceState:
        """What is true of it now.

        A process whose keeper is gone still runs, but its output goes nowhere and nobody will see its end: it is
        unhealthy, so that the next `up` starts it again.
        """
        if self.process is None:
            return ServiceState.CREATED
        if not owner.is_alive(self.process):
            return ServiceState.EXITED
        if self.keeper is None or not owner.is_alive(self.keeper):
            return ServiceState.UNHEALTHY
        return ServiceState.RUNNING

    def observed(self) -> ObservedService:
        """The same in the engine's common form."""
        state = self.state
        return ObservedService(
            name=self.name,
            handle=str(self.folder),
            state=state,
            digest=self.label("digest"),
            aspects=_object(self.label("aspects")),
            data_digest=self.label("data"),
            exit_code=self.exit_code if state is ServiceState.EXITED else None,
            detail=_UNKEPT if state is ServiceState.UNHEALTHY else "",
            host_ports={int(inner): int(outer) for inner, outer in self.definition.get("ports", {}).items()},
        )


def read_all(stack_folder: Path) -> dict[str, ProcessRecord]:
    """The services of a stack, by name; none where there is no such folder, or no longer."""
    try:
        entries = sorted(stack_folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {entry.name: read(entry) for entry in entries if not entry.name.startswith(".") and entry.is_dir()}


def read(folder: Path) -> ProcessRecord:
    """One service. What is missing or damaged reads as not there."""
    process, ended = read_json(folder / PROCESS), read_json(folder / EXIT)
    if ended.get("cookie") != process.get("cookie"):
        ended = {}  # of an earlier start
    return ProcessRecord(
        folder=folder,
        definition=_definition(read_json(folder / DEFINITION)),
        process=_owner(process.get("process")),
        keeper=_owner(process.get("keeper")),
        cookie=str(process.get("cookie", "")),
        started_at_s=_number(process.get("started_at_s")),
        ended_at_s=_number(ended.get("ended_at_s")),
        exit_code=_number(ended.get("exit_code")),
    )


def write_definition(folder: Path, definition: Mapping[str, Any]) -> None:
    """The intent, written down before anything is started.

    It must survive a power failure only with the data that does. Raises CannotWrite.
    """
    text = json.dumps(definition, ensure_ascii=False)
    write_atomic(folder / DEFINITION, text, durable=bool(definition.get("persist")))


def read_json(path: Path) -> dict[str, Any]:
    """An object out of a file; empty where the file is missing or damaged."""
    try:
        return _object(path.read_bytes())
    except OSError:
        return {}


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _definition(found: dict[str, Any]) -> dict[str, Any]:
    """What was read, if it has the shape of what was written; a few bytes of damage can leave valid JSON."""
    shapes: dict[str, type] = {"labels": dict, "ports": dict, "environment": dict, "client": dict, "paths": dict}
    whole = all(isinstance(found.get(key, shape()), shape) for key, shape in shapes.items())
    ports = found.get("ports", {}) if whole else {}
    return found if whole and all(_is_port(inner) and _is_port(outer) for inner, outer in ports.items()) else {}


def _is_port(value: Any) -> bool:
    return str(value).isdecimal()


def _number(value: Any) -> Any:
    return value if isinstance(value, int | float) else None


def _owner(value: Any) -> Owner | None:
    try:
        return Owner(str(value["boot_id"]), int(value["pid"]), int(value["start_ticks"]))
    except (TypeError, KeyError, ValueError):
        return None
