"""`port` and `ports`: what a service listens on, and which host ports the user fixes.

A process listens on the leased port itself, which it finds in `PORT`. The number it is given here is a name only, and
`auto` says that there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from envctl.host.config.nodes import ListNode, MapNode, Node, ScalarNode
from envctl.host.config.problems import shown
from envctl.host.config.values import Context, Fields, described, integer, mapping
from envctl.model import PortSpec

PORT_NAME = r"[a-z][a-z0-9_]{0,30}"
FORM = 'a port number (80), "HOST:CONTAINER" ("8080:80") or {container: 80, host: 8080}'
AUTO_FORM = 'auto (the leased port in $PORT), or "HOST:CONTAINER" ("8080:8080") to fix it'
MAP_FORM = "write names: ports: {http: 8025}"

AUTO = "auto"
FIRST_AUTO = 65536
"""`auto` ports are numbered from here: distinct within a service, and none that anybody could listen on."""

_SHORT = re.compile(r"(?:([0-9]{1,5}):)?([0-9]{1,5})")
_ADDRESS = re.compile(r"(.+):([0-9-]*):([0-9-]+)(/(tcp|udp))?")
_LOCAL = re.compile(r"127\.[0-9.]+|localhost|\[::1\]")


def one_port(name: str, node: Node, path: str, context: Context, *, auto: bool = False) -> PortSpec | None:
    """The port called `name`; `auto` allows that word, for a process."""
    if isinstance(node, MapNode):
        return _long(name, node, path, context)
    if not isinstance(node, ScalarNode) or not node.text:
        context.report.add(node, path, f"must be a port, not {described(node)}", AUTO_FORM if auto else FORM)
        return None
    if auto and node.text == AUTO:
        return PortSpec(name, FIRST_AUTO)
    short = _SHORT.fullmatch(node.text)
    if short is None:
        if not _refused_address(node, path, context):
            hint = "auto is for services with process" if node.text == AUTO else AUTO_FORM if auto else FORM
            context.report.add(node, path, f"{shown(node.text)} is not a port", hint)
        return None
    host = int(short[1]) if short[1] else None
    return _checked(PortSpec(name, int(short[2]), host), node, path, context)


def named_ports(node: Node, path: str, context: Context, *, auto: bool = False) -> list[PortSpec] | None:
    """The mapping name → port."""
    if isinstance(node, ListNode):  # Compose's form: it says addresses, and no names
        for number, item in enumerate(node.items):
            if isinstance(item, ScalarNode):
                _refused_address(item, f"{path}[{number}]", context)
    found = mapping(node, path, context, MAP_FORM)
    if found is None:
        return None
    ports = []
    for name, (key, value) in found.items.items():
        if not re.fullmatch(PORT_NAME, name):
            context.report.add(key, path, f"{shown(name)} is not a port name", "small letters, digits and _: http")
        elif port := one_port(name, value, f"{path}.{name}", context, auto=auto):
            ports.append(port)
    return ports


def combined(main: PortSpec | None, named: Iterable[PortSpec], defaults: Iterable[PortSpec]) -> tuple[PortSpec, ...]:
    """The kind's default ports with the user's over them; the main port stays first."""
    result = {port.name: port for port in defaults}
    if main:
        result = {main.name: main, **{n: p for n, p in result.items() if n != main.name}}
    result |= {port.name: port for port in named}
    return tuple(_numbered(result.values()))


def _numbered(ports: Iterable[PortSpec]) -> Iterator[PortSpec]:
    """Gives each `auto` port a number of its own."""
    following = FIRST_AUTO
    for port in ports:
        if port.container_port < FIRST_AUTO:
            yield port
        else:
            yield replace(port, container_port=following)
            following += 1


def _long(name: str, node: MapNode, path: str, context: Context) -> PortSpec | None:
    for key, (key_node, _) in node.items.items():
        if key not in {"container", "host"}:
            context.report.add(key_node, path, f"unknown key {shown(key)}", FORM)
    fields = Fields(node, path, context)
    container, host = fields.read("container", integer), fields.read("host", integer)
    if not fields.has("container"):
        context.report.add(node, path, "has no container port", FORM)
    return _checked(PortSpec(name, container, host), node, path, context) if container is not None else None


def _checked(port: PortSpec, node: Node, path: str, context: Context) -> PortSpec | None:
    wrong = [n for n in (port.container_port, port.host_port) if n is not None and not 1 <= n <= 65535]
    if not wrong:
        return port
    context.report.add(node, path, f"{wrong[0]} is not a port", "1 to 65535")
    return None


def _refused_address(node: ScalarNode, path: str, context: Context) -> bool:
    """Whether the value says an address to publish on, which a service cannot choose."""
    match = _ADDRESS.fullmatch(node.text)
    if match is None:
        return False
    unsafe = not _LOCAL.fullmatch(match[1])
    message = f"{shown(node.text)} publishes on an address of its own"
    context.report.add(node, path, message, "ports are published on publish_address only", unsafe=unsafe)
    return True
