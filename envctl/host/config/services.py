"""One service: its mapping, checked, with its kind's defaults filled in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import cast

from envctl import kinds
from envctl.host.config.build import build
from envctl.host.config.keys import DATA, ELSEWHERE, IMAGE, PULL_POLICIES, SERVICE, UNSAFE
from envctl.host.config.nodes import MapNode, Node, ScalarNode
from envctl.host.config.ports import combined, named_ports, one_port
from envctl.host.config.problems import did_you_mean, shown
from envctl.host.config.process import process
from envctl.host.config.ready import ready
from envctl.host.config.values import (
    Context,
    Fields,
    Reader,
    boolean,
    converted,
    items,
    mapping,
    matching,
    one_of,
    pairs,
    text,
    words,
)
from envctl.host.config.volumes import volumes
from envctl.kinds.base import Kind
from envctl.model import PortSpec, PullPolicy, Ready, ServiceSpec
from envctl.plan.units import size_bytes

MIN_MEMORY = 6 * 1024**2  # Docker's own minimum

# Only the official names: any other image may have another contract, and its user must say what it is.
OFFICIAL_IMAGES = {"postgres": "postgres", "redis": "redis", "valkey/valkey": "redis"}

_image = matching(IMAGE, "an image reference such as postgres:18 or ghcr.io/owner/name:tag")
_memory = converted(size_bytes, low=MIN_MEMORY, limits="at least 6m")
_environment = pairs()
_pull = one_of(PULL_POLICIES)


def service(name: str, node: Node, path: str, context: Context) -> ServiceSpec | None:
    """The service `name`; nothing (`redis:`) is the same as an empty mapping."""
    if isinstance(node, ScalarNode) and node.type == "null":
        node = MapNode(node.line, node.column)
    settings = mapping(node, path, context, f"{name}: {{image: …}}")
    if settings is None:
        return None
    fields = Fields(settings, path, context)
    image = fields.read("image", _image)
    known = _kind(name, image, fields)
    kind = known or kinds.get(kinds.GENERIC)
    _check_keys(fields, known)
    if known:
        _check_source(fields, known)
    main_name = kind.ports[0].name if kind.ports else "main"
    local = fields.has("process")
    main = fields.read("port", partial(one_port, main_name, auto=local))
    ports = combined(main, fields.read("ports", partial(named_ports, auto=local)) or (), kind.ports)
    _check_ports(ports, fields)
    made = fields.read("build", build) if not (fields.has("image") or local) else None
    own = made or local or fields.has("build")
    found = ServiceSpec(
        name=name,
        kind=kind.name,
        image=image if image or own else kind.image,
        build=made,
        process=process(fields),
        command=fields.read("command", words),
        environment=fields.read("environment", _environment) or {},
        ports=ports,
        ready=cast("Ready | None", fields.read("ready", ready)),
        depends_on=fields.read("depends_on", _names) or (),
        volumes=fields.read("volumes", volumes) or (),
        memory_bytes=fields.read("memory", _memory),
        persist=fields.read("persist", boolean) or False,
        pull=cast("PullPolicy | None", fields.read("pull", _pull)),
        options=_options(fields, kind),
    )
    return _with_data(found, fields, known) if known and any(fields.has(key) for key in DATA) else found


def _with_data(service: ServiceSpec, fields: Fields, kind: Kind) -> ServiceSpec:
    from envctl.host.config.data import shaping

    return replace(service, **shaping(fields, kind)._asdict())


def kind_of_image(image: str) -> str | None:
    """The kind an official image is of, whatever its tag, or None."""
    name = re.sub(r"^(docker\.io/)?(library/)?", "", image.partition("@")[0])
    return OFFICIAL_IMAGES.get(name.partition(":")[0])


def _kind(name: str, image: str | None, fields: Fields) -> Kind | None:
    """`kind`, else the service's name, else an official image that is used without ports and check of its own.

    None where `kind` is given and wrong.
    """
    if fields.has("kind"):
        given = fields.read("kind", one_of(kinds.names()))
        return kinds.get(given) if given else None
    if name in kinds.names():
        return kinds.get(name)
    plain = image is not None and not fields.has("ports") and not fields.has("ready")
    return kinds.get((kind_of_image(image or "") if plain else None) or kinds.GENERIC)


def _check_keys(fields: Fields, kind: Kind | None) -> None:
    allowed = [*SERVICE, *(kind.options if kind else ())]
    for key, (node, _) in fields.node.items.items():
        if key in allowed:
            continue
        if key in UNSAFE:
            fields.context.report.add(node, fields.path, f"{key} {UNSAFE[key]}", "remove it", unsafe=True)
            continue
        owners = [other for other in kinds.names() if key in kinds.get(other).options]
        if owners and kind is None:
            continue
        if owners and kind:
            message = f"{shown(key)} is a setting of kind {' and '.join(owners)}, and this service is {kind.name}"
            fields.context.report.add(node, fields.path, message, f"set kind: {owners[0]}")
        else:
            fields.context.report.add(node, fields.path, f"unknown key {shown(key)}", unknown_hint(key, allowed))


def unknown_hint(key: str, allowed: Iterable[str]) -> str:
    """What to write instead of `key`: the other tool's word translated, the nearest key, or all of them."""
    known = list(allowed)
    return ELSEWHERE.get(key) or did_you_mean(key, known) or "known: " + ", ".join(known)


def _check_source(fields: Fields, kind: Kind) -> None:
    if fields.has("image") and fields.has("build"):
        fields.context.report.add(fields.node.items["build"][0], fields.path, "has both image and build", "keep one")
    if fields.has("pull") and fields.has("build"):
        hint = "remove pull; a build fetches what its FROM lines name"
        fields.context.report.add(fields.node.items["pull"][0], fields.path, "has both build and pull", hint)
    if any(fields.has(source) for source in ("image", "build", "process")) or kind.image or kind.bundled:
        return
    ready_made = [name for name in kinds.names() if kinds.get(name).image or kinds.get(name).bundled]
    hint = f"give an image, or the command of a process; kinds that need none: {', '.join(ready_made)}"
    fields.context.report.add(fields.node, fields.path, "has neither image, build nor process", hint)


def _check_ports(ports: Iterable[PortSpec], fields: Fields) -> None:
    seen: dict[int, str] = {}
    for port in ports:
        if (first := seen.setdefault(port.container_port, port.name)) != port.name:
            node = fields.node.get("ports") or fields.node
            message = f"the ports {first} and {port.name} are both {port.container_port}"
            fields.context.report.add(node, fields.path, message)


def _options(fields: Fields, kind: Kind) -> dict[str, str]:
    result = {}
    for name, option in kind.options.items():
        given = fields.read(name, partial(_option, matching(option.pattern, f"must match {option.pattern}")))
        result[name] = option.default if given is None else given
    return result


def _option(reader: Reader[str], node: Node, path: str, context: Context) -> str | None:
    """A number that needs no quotes here (`database: 3`) is as good as text."""
    if isinstance(node, ScalarNode) and node.type == "integer":
        node = ScalarNode(node.line, node.column, node.text)
    return reader(node, path, context)


def _names(node: Node, path: str, context: Context) -> tuple[str, ...] | None:
    found = items(node, path, context, "depends_on: [postgres]")
    if found is None:
        return None
    names = [name for n, item in enumerate(found) if (name := text(item, f"{path}[{n}]", context)) is not None]
    return tuple(dict.fromkeys(names))
