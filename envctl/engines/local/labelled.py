"""Whose a stack of processes is, beside its files: what a lost or damaged registry is rebuilt from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envctl.engines.local import account, folders, records
from envctl.host import files
from envctl.model import LOOPBACK, Identity, PortLease, Stack
from envctl.plan.facts import LABEL_PREFIX

if TYPE_CHECKING:
    from envctl.engines.base import Found
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


def persistent(root: Path) -> set[str]:
    """The services whose data is to survive `down`; none where the file is missing or damaged."""
    found = read(root).get("persistent")
    return {str(name) for name in found} if isinstance(found, list) else set()


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
    from envctl.engines.base import Found

    labels = known["labels"]
    identity = Identity(
        project=labels["project"],
        branch=labels["branch"],
        checkout=labels["checkout"],
        label=labels["label"],
        key=labels["key"],
        name=labels["environment"],
    )
    stack = Stack(
        id=root.name,
        project=known["project"],
        engine=known["engine"],
        endpoint=known["endpoint"],
        host=known.get("host", LOOPBACK),
        publish_address=known.get("publish_address", LOOPBACK),
        subnet=known.get("subnet"),
        ports=tuple(PortLease(*port) for port in known["ports"]),
        credentials=known["credentials"],
    )
    return Found(
        identity=identity,
        stack=stack,
        config_file=labels["config"] or None,
        created_at=labels["created"],
        expires_at=labels["expires"] or None,
        only_data=_is_only_data(root),
    )


def _is_only_data(root: Path) -> bool:
    """Whether nothing is left but data that is to survive `down`: nothing was started since."""
    state = folders.state_of(root)
    left = records.read_all(root)
    return bool(left) and all(
        record.definition.get("persist")
        and record.process is None
        and account.data_folder(state, root.name, name, record.definition).is_dir()
        for name, record in left.items()
    )
