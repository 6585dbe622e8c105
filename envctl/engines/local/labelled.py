"""Whose a stack of processes is, beside its files: what a lost or damaged registry is rebuilt from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envctl.engines.local import folders, records
from envctl.host import files
from envctl.model import PortLease, Stack
from envctl.plan.labels import LABEL_PREFIX, identity

if TYPE_CHECKING:
    from envctl.model import Found
    from envctl.plan.steps import Plan

FILE = "stack.json"
_LABELS = ("registry", "environment", "key", "project", "branch", "checkout", "label", "config", "created", "expires")


def write(root: Path, stack: Stack, plan: Plan) -> None:
    """Write down whose the stack is, with its secrets: the file is for nobody else to read.

    It must survive a power failure only with the data that does.

    Args:
        root: The stack's folder.
        stack: The stack.
        plan: Its plan; it has processes.

    Raises:
        CannotWrite: The disk is full, or the like.
    """
    labels = next(iter(plan.processes.values()))["labels"]
    content = {
        "labels": {name: labels.get(LABEL_PREFIX + name, "") for name in _LABELS},
        "engine": stack.engine,
        "endpoint": stack.endpoint,
        "host": stack.host,
        "publish_address": stack.publish_address,
        "project": stack.project,
        "subnet": stack.subnet,
        "credentials": {service: dict(values) for service, values in stack.credentials.items()},
        "ports": [
            [lease.service, lease.port_name, lease.container_port, lease.host_port, lease.fixed]
            for lease in stack.ports
        ],
        "services": sorted(plan.processes),
        "persistent": sorted(name for name, definition in plan.processes.items() if definition.get("persist")),
    }
    text = json.dumps(content, ensure_ascii=False)
    files.write_atomic(root / FILE, text, durable=bool(content["persistent"]))


def read(root: Path) -> dict[str, Any]:
    """The same again; empty where the file is missing or damaged."""
    return records.read_json(root / FILE)


def credentials(root: Path) -> dict[str, dict[str, str]]:
    """The stack's secrets, by service and name; none where the file is missing or damaged."""
    found = read(root).get("credentials")
    return found if isinstance(found, dict) else {}


def services(root: Path) -> frozenset[str] | None:
    """The services the stack was last started with; None where the file is missing or damaged."""
    told = read(root).get("services")
    return frozenset(map(str, told)) if isinstance(told, list) else None


def persistent(root: Path, known: Mapping[str, records.ProcessRecord]) -> frozenset[str]:
    """The services whose data is to survive `down`. Two files tell, should one be damaged.

    Args:
        root: The stack's folder.
        known: Its services.
    """
    told = read(root).get("persistent")
    names = {str(name) for name in told} if isinstance(told, list) else set()
    return frozenset(names | {name for name, record in known.items() if record.definition.get("persist")})


def find_all(stacks_folder: Path, engine: str, registry_id: str) -> list[Found]:
    """Every stack of the engine that carries the registry's id; one whose file is damaged tells nothing.

    Args:
        stacks_folder: The folder of all stacks.
        engine: Name of the engine it runs on.
        registry_id: The registry's id.
    """
    found: list[Found] = []
    for root in sorted(stacks_folder.iterdir()) if stacks_folder.is_dir() else ():
        known = read(root) if folders.is_stack(root.name) else {}
        try:
            if known["engine"] == engine and known["labels"]["registry"] == registry_id:
                found.append(_found(root, known))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    return found


def _found(root: Path, known: Mapping[str, Any]) -> Found:
    from envctl.model import Found

    labels = {name: _text(known["labels"][name]) for name in _LABELS}
    stack = Stack(
        id=root.name,
        project=_text(known["project"]),
        engine=_text(known["engine"]),
        endpoint=_text(known["endpoint"]),
        host=_text(known["host"]),
        publish_address=_text(known["publish_address"]),
        subnet=known["subnet"] and _text(known["subnet"]),
        ports=tuple(_lease(*port) for port in known["ports"]),
        credentials={
            service: {name: _text(value) for name, value in secrets.items()}
            for service, secrets in known["credentials"].items()
        },
    )
    return Found(
        identity=identity(labels),
        stack=stack,
        config_file=labels["config"] or None,
        created_at=labels["created"],
        expires_at=labels["expires"] or None,
        only_data=_is_only_data(root),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"not a text: {value!r}")
    return value


def _lease(service: object, name: object, inner: int, outer: int, fixed: object) -> PortLease:
    return PortLease(_text(service), _text(name), int(inner), int(outer), fixed=bool(fixed))


def _is_only_data(root: Path) -> bool:
    """Whether nothing is left but data that is to survive `down`, and nothing was started since."""
    left = records.read_all(root)
    started = any(record.process is not None for record in left.values())
    stored = all(folders.data(record.folder) for record in left.values())
    return bool(left) and not started and stored and left.keys() <= persistent(root, left)
