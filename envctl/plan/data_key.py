"""What shaped prepared data, by name, and the key under which it is kept. Pure.

Two environments with the same inputs can start from the same data, whatever their branch, folder or machine: nothing of
these goes in. What goes in is told apart by name, so that people are told which of it has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence

from envctl import kinds
from envctl.model import DataCommand, EnvironmentSpec, SeedFile, ServiceSpec
from envctl.plan import digest

RECIPE = 1
"""Raised when data is prepared in another way: what was prepared before is not used any more."""

_RECIPE = "recipe"
_ORDER = " seed order"
_MOST_WORDS = 5


def wants(spec: EnvironmentSpec) -> list[str]:
    """The services whose data is to be prepared together, in the order of the file.

    All or none: a command of one service may write into another, so whatever holds data is kept from the same moment.
    None where snapshots are off, or what is seeded is not among them (it persists, or it is a process or of a kind
    whose data cannot be captured): then the services are seeded directly. Where nothing is migrated or seeded, those
    whose first start takes long, if that is to be kept too.
    """
    shaped = {service.name for service in spec.services.values() if service.migrate or service.seed}
    captured = [service.name for service in spec.services.values() if _can_be_captured(service)]
    if not shaped and spec.snapshots_unseeded:
        return [name for name in captured if kinds.get(spec.services[name].kind).initialises]
    return captured if shaped and spec.snapshots and shaped <= set(captured) else []


def inputs(spec: EnvironmentSpec, services: Sequence[str], made_with: Mapping[str, str]) -> dict[str, str]:
    """Everything that shapes the data of `services`: what people call it → what it is now.

    Args:
        spec: The environment.
        services: Those that are prepared, as `wants` gives them.
        made_with: For each of them what runs it: the image's id, or the program and its version.
    """
    found = {_RECIPE: f"{RECIPE} {' '.join(_baselines(spec, services))}"}
    for name in services:
        service = spec.services[name]
        found[f"{name} image"] = made_with[name]
        found[f"{name} settings"] = _settings(service)
        found[f"{name} reset strategy"] = service.reset
        found.update(_migration(service))
        found.update(_seeds(service))
    if spec.export and any(_commands(spec.services[name]) for name in services):
        found["export"] = digest.of(dict(spec.export))  # the commands see these variables
    return found


def key(inputs: Mapping[str, str]) -> str:
    """32 hex digits; equal for equal inputs, in whatever order they are given."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What is different now, in words: "db/schema.sql changed", "fixtures/b.csv is new", "fixtures/a.csv is gone".

    No more than a few; the last one says how many there are besides.
    """
    changed = [name for name in after if name in before and before[name] != after[name]]
    new, gone = [name for name in after if name not in before], [name for name in before if name not in after]
    if new or gone:  # then the order is another for that reason
        changed, new, gone = ([name for name in names if not _is_order(name)] for names in (changed, new, gone))
    words = [_changed(name) for name in changed]
    words += [f"{name} is new" for name in new] + [f"{name} is gone" for name in gone]
    more = len(words) - _MOST_WORDS
    return words if more <= 0 else [*words[:_MOST_WORDS], f"{more} more"]


def _changed(name: str) -> str:
    return "this version of envctl prepares data in another way" if name == _RECIPE else f"{name} changed"


def _is_order(name: str) -> bool:
    return name.endswith(_ORDER) and _file(name) != name


def _baselines(spec: EnvironmentSpec, services: Sequence[str]) -> list[str]:
    used = sorted({spec.services[name].kind for name in services})
    return [f"{kind}:{kinds.get(kind).baseline_version}" for kind in used]


def _can_be_captured(service: ServiceSpec) -> bool:
    return not service.process and not service.persist and kinds.settling(service.kind) is not None


def _settings(service: ServiceSpec) -> str:
    """Of what the service itself is told. Its ports and its memory shape no data."""
    volumes = sorted([volume.target, volume.content or ""] for volume in service.volumes)
    return digest.of([service.kind, dict(service.options), service.command, dict(service.environment), volumes])


def _migration(service: ServiceSpec) -> Iterator[tuple[str, str]]:
    if service.migrate:
        yield f"{service.name} migrate command", _command(service.migrate)
        yield from _files(service.migrate)


def _seeds(service: ServiceSpec) -> Iterator[tuple[str, str]]:
    """Each step by itself, and their order: a step that is there twice counts twice."""
    order: list[str] = []
    commands = 0
    for step in service.seed:
        if isinstance(step, SeedFile):
            name = _file(step.path)
            yield name, step.digest
        else:
            commands += 1
            name = f"{service.name} seed command {commands}"
            yield name, _command(step)
            yield from _files(step)
        order.append(name)
    if order:
        yield service.name + _ORDER, digest.of(order)


def _commands(service: ServiceSpec) -> list[DataCommand]:
    steps = [step for step in service.seed if isinstance(step, DataCommand)]
    return [service.migrate, *steps] if service.migrate else steps


def _files(command: DataCommand) -> Iterator[tuple[str, str]]:
    return ((_file(path), mark) for path, mark in command.digests)


def _file(path: str) -> str:
    """A file's name in the list: with a dot or a slash in it, so that it is never taken for something else there."""
    return path if "/" in path or "." in path else f"./{path}"


def _command(command: DataCommand) -> str:
    return digest.of([list(command.command), command.folder])
