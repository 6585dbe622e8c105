"""What shaped a service, as hashes: equal hashes mean that nothing has to be done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

# What people call the parts of a definition; a part that differs is the cause of a replacement.
_ASPECTS: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "build"),
    "command": ("command", "entrypoint"),
    "environment": ("environment", "secrets"),
    "ports": ("ports",),
    "volumes": ("volumes", "configs", "tmpfs"),
    "healthcheck": ("healthcheck",),
    "memory": ("mem_limit", "memswap_limit"),
}


_NAMED = ("image", "program")  # their values are names that people want to read


def of(value: object) -> str:
    """12 hex digits over a JSON-like value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def aspects(service: Mapping[str, object]) -> dict[str, str]:
    """A short hash for each part of a Compose service; the image by its name, since people want to read it."""
    known = {name: of([service.get(key) for key in keys])[:6] for name, keys in _ASPECTS.items()}
    known["image"] = str(service.get("image"))
    rest = {key: service[key] for key in service.keys() - {k for keys in _ASPECTS.values() for k in keys} - {"labels"}}
    known["settings"] = of(rest)[:6]
    return known


def process_aspects(process: Mapping[str, object]) -> dict[str, str]:
    """The same for a service that runs as a process; its program by its name and version."""
    known = {
        "command": of([process.get("arguments"), process.get("cwd")])[:6],
        "inputs": str(process.get("inputs", ""))[:6],
        "environment": of([process.get("environment"), process.get("stdin")])[:6],
        "ports": of(process.get("ports"))[:6],
        "settings": of([process.get(key) for key in ("stop_signal", "data", "persist", "setup", "unprivileged")])[:6],
    }
    prepared = process.get("prepared")
    data = {"data": str(prepared["key"])[:6]} if isinstance(prepared, Mapping) else {}
    return {"program": str(process.get("program", "")), **known, **data}


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> Iterable[str]:
    """The parts that differ, as words: "image postgres:17 → postgres:18", "environment"."""
    if before and ("image" in before) != ("image" in after):
        yield "a container → a process" if "image" in before else "a process → a container"
        return
    for name in dict.fromkeys((*after, *before)):
        old, value = before.get(name), after.get(name)
        if old == value:
            continue
        yield f"{name} {old} → {value}" if name in _NAMED and old else name
