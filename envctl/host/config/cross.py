"""What no single setting can show to be wrong: names that clash, references to what is not there, circles."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from envctl import kinds
from envctl.host.config.nodes import ListNode, MapNode, Node, ScalarNode
from envctl.host.config.problems import Report, did_you_mean, shown
from envctl.model import EnvironmentSpec, ExecReady, LogReady, ServiceSpec


def check(spec: EnvironmentSpec, root: MapNode, report: Report) -> None:
    """Notes every problem between the parts of `spec`, at the nodes of `root` it was read from."""
    services = root.get("services")
    if isinstance(services, MapNode):
        _check_prefixes(services, report)
        _check_dependencies(spec, services, report)
        _check_circles(spec, services, report)
        _check_fixed_ports(spec, services, report)
        for service in spec.services.values():
            node = services.get(service.name)
            if isinstance(node, MapNode):
                _check_ready_port(service, node, report)
                _check_given_by_envctl(service, spec, node, report)
                _check_port_variable(service, node, report)
                _check_references(spec, node.get("environment"), f"services.{service.name}.environment", report)
    _check_references(spec, root.get("export"), "export", report)


def _check_prefixes(services: MapNode, report: Report) -> None:
    """`my-db` and `my_db` would both be given the variables `MY_DB_…`."""
    seen: dict[str, str] = {}
    for name, (key, _) in services.items.items():
        prefix = name.upper().replace("-", "_")
        if prefix in seen:
            message = f"{shown(name)} and {shown(seen[prefix])} would share the variables {prefix}_…"
            report.add(key, "services", message, "rename one")
        seen.setdefault(prefix, name)


def _check_dependencies(spec: EnvironmentSpec, services: MapNode, report: Report) -> None:
    for service in spec.services.values():
        for item in _items(services, service.name, "depends_on"):
            path = f"services.{service.name}.depends_on"
            if item.text == service.name:
                report.add(item, path, "a service cannot depend on itself")
            elif item.text not in services.items:
                hint = did_you_mean(item.text, services.items) or "services: " + ", ".join(services.items)
                report.add(item, path, f"there is no service {shown(item.text)}", hint)


def _check_circles(spec: EnvironmentSpec, services: MapNode, report: Report) -> None:
    """One problem per circle, at the service it is met first; without recursion, as chains may be long."""
    done: set[str] = set()
    for start in spec.services:
        trail: list[str] = []
        waiting = [iter([start])]
        while waiting:
            name = next(waiting[-1], None)
            if name is None:
                waiting.pop()
                if trail:
                    done.add(trail.pop())
            elif name in trail:
                circle = [*trail[trail.index(name) :], name]
                if len(circle) > 2:  # a service's dependence on itself has been noted
                    node = services.items[name][0]
                    report.add(node, f"services.{name}.depends_on", "depends on itself: " + " → ".join(circle))
            elif name not in done and name in spec.services:
                trail.append(name)
                waiting.append(iter(spec.services[name].depends_on))


def _check_fixed_ports(spec: EnvironmentSpec, services: MapNode, report: Report) -> None:
    seen: dict[int, str] = {}
    for service in spec.services.values():
        for port in service.ports:
            if port.host_port is None:
                continue
            if port.host_port in seen:
                message = f"the host port {port.host_port} is already fixed for {seen[port.host_port]}"
                report.add(services.items[service.name][0], f"services.{service.name}", message)
            seen.setdefault(port.host_port, f"{service.name}.{port.name}")


def _check_ready_port(service: ServiceSpec, node: MapNode, report: Report) -> None:
    check = service.ready
    if check is None or isinstance(check, (LogReady, ExecReady)):
        return
    at, names = node.items["ready"], [port.name for port in service.ports]
    path = f"services.{service.name}.ready"
    if check.port is not None and check.port not in names:
        hint = did_you_mean(check.port, names) or ("ports: " + ", ".join(names) if names else "it has no ports")
        report.add(at[1], path, f"there is no port {shown(check.port)}", hint)
    elif not names:
        report.add(at[1], path, "asks a port, but the service has none", "give port or ports")


def _check_given_by_envctl(service: ServiceSpec, spec: EnvironmentSpec, node: MapNode, report: Report) -> None:
    """An official image refuses to start with both `X` and `X_FILE`, and a second user or database name would lie."""
    kind = kinds.get(service.kind)
    if kind.image is None or not service.environment:
        return
    given = kind.container(service, spec).get("environment")
    names = given if isinstance(given, Mapping) else {}
    secrets = {name for name in names if name.endswith("_FILE")}
    settings = {name for name, value in names.items() if value in service.options.values()}
    reserved = settings | secrets | {name.removesuffix("_FILE") for name in secrets}
    for name, key in _names(node.get("environment")):
        if name in reserved:
            hint = f"use {' and '.join(kind.options)}; the password is random, and exported"
            report.add(key, f"services.{service.name}.environment", f"{name} is set by envctl", hint)


def _check_port_variable(service: ServiceSpec, node: MapNode, report: Report) -> None:
    """A process that listened anywhere but on its lease would never be found."""
    if service.process is None or not service.ports:
        return
    for name, key in _names(node.get("environment")):
        if name == "PORT":
            hint = 'it is the leased port; port: "3001:3001" fixes one'
            report.add(key, f"services.{service.name}.environment", "PORT is set by envctl", hint)


def _check_references(spec: EnvironmentSpec, node: Node | None, path: str, report: Report) -> None:
    values = [(f"{path}.{name}", value) for name, (_, value) in node.items.items()] if isinstance(node, MapNode) else []
    if isinstance(node, ListNode):
        values = [(f"{path}[{number}]", item) for number, item in enumerate(node.items)]
    with_braces = [
        (at, value) for at, value in values if isinstance(value, ScalarNode) and re.search("[{}]", value.text)
    ]
    if not with_braces:
        return
    from envctl.plan import references

    for at, value in with_braces:
        text = value.text.partition("=")[2] if isinstance(node, ListNode) else value.text
        for problem in references.problems(text, spec):
            report.add(value, at, problem)


def _items(services: MapNode, name: str, key: str) -> list[ScalarNode]:
    service = services.get(name)
    found = service.get(key) if isinstance(service, MapNode) else None
    return [item for item in found.items if isinstance(item, ScalarNode)] if isinstance(found, ListNode) else []


def _names(node: Node | None) -> Iterator[tuple[str, Node]]:
    if isinstance(node, MapNode):
        yield from ((name, key) for name, (key, _) in node.items.items())
    elif isinstance(node, ListNode):
        yield from ((item.text.partition("=")[0], item) for item in node.items if isinstance(item, ScalarNode))
