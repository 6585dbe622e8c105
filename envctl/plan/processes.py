"""The definitions of services that run as plain processes.

These are the repository's own programs, under every engine, and on an engine without containers the programs that
serve the kinds. Like the Compose document they hold markers in the place of secrets; whoever starts a process fills
them in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from envctl import kinds
from envctl.kinds.base import needs_container
from envctl.model import Capabilities, Connection, EnvironmentSpec, ServiceSpec, Surroundings
from envctl.plan import connections, digest, references, secrets
from envctl.plan.facts import Facts
from envctl.plan.labels import LABEL_PREFIX
from envctl.plan.variables import variables

_ANY_PORT = 0  # of a plan that is only shown: nothing is leased yet


def is_process(service: ServiceSpec, capabilities: Capabilities) -> bool:
    """Whether the service runs as a plain process rather than in a container."""
    return service.process is not None or not capabilities.containers


def definitions(spec: EnvironmentSpec, facts: Facts) -> dict[str, dict[str, Any]]:
    """The definition of every service that runs as a process, by name. Equal inputs give equal definitions.

    Raises:
        Unsupported: A service needs a container, and the engine has none.
    """
    chosen = [service for service in spec.services.values() if is_process(service, facts.capabilities)]
    if not chosen:
        return {}
    reach = _reach(spec, facts)
    return {service.name: _definition(service, spec, facts, reach) for service in chosen}


def _definition(
    service: ServiceSpec, spec: EnvironmentSpec, facts: Facts, reach: Mapping[str, Connection]
) -> dict[str, Any]:
    made = _own(service, spec, facts, reach) if service.process else _native(service, spec, facts, reach)
    made["environment"] |= {
        name: references.resolve(value, reach, facts.identity) for name, value in service.environment.items()
    }
    made["ports"] = {port.container_port: reach[service.name].ports[port.name] for port in service.ports}
    made["depends_on"] = list(service.depends_on)
    made["persist"] = service.persist
    made["labels"] = {LABEL_PREFIX + key: value for key, value in facts.labels.items()} | _labels(service, made)
    return made


def _own(service: ServiceSpec, spec: EnvironmentSpec, facts: Facts, reach: Mapping[str, Connection]) -> dict[str, Any]:
    """A program of the repository: it gets the environment's variables and its ports."""
    process = service.process
    assert process is not None  # noqa: S101 - the caller looked
    known = variables(facts.identity, facts.capabilities.engine, spec, reach)
    ports = {f"PORT_{name.upper().replace('-', '_')}": str(port) for name, port in reach[service.name].ports.items()}
    main = {"PORT": str(reach[service.name].port)} if service.ports else {}
    return {
        "arguments": list(process.command),
        "cwd": process.cwd,
        "environment": known | (ports if len(ports) > 1 else {}) | main,
        "inherits": True,
        "inputs": process.fingerprint,
        "data": None,
        "stop_signal": process.stop_signal,
        "discard_signal": process.stop_signal,
    }


def _native(
    service: ServiceSpec, spec: EnvironmentSpec, facts: Facts, reach: Mapping[str, Connection]
) -> dict[str, Any]:
    """A kind's service, run by a program of this machine."""
    program = facts.programs.get(service.kind)
    if program is None or service.build is not None:
        raise needs_container(service)
    if service.volumes:
        raise needs_container(service, "volumes and files are mounted in containers only")
    assets = facts.assets[service.kind]
    around = Surroundings(program, reach, facts.stack.publish_address, assets.folder)
    native = kinds.get(service.kind).native(service, spec, around)
    made = asdict(native) | {"arguments": list(native.arguments), "environment": dict(native.environment)}
    data = f"{service.name}-data" if native.data else None
    named = {"program": f"{program.name} {program.version}", "paths": dict(program.paths)}
    # A bundled server is made from its folder: a new version of envctl brings new ones at the same place.
    made |= named | {"data": data, "inputs": assets.digest, "inherits": False}
    prepared = facts.prepared.get(service.name)
    # The service that makes prepared data has no source yet: it begins with nothing, as others do.
    started = {"key": prepared.key, "source": prepared.source} if prepared and prepared.source else None
    return made | ({"prepared": started} if data and started else {})


def _reach(spec: EnvironmentSpec, facts: Facts) -> dict[str, Connection]:
    """How every service is reached from a process of this machine: as from outside, with markers for secrets."""
    found: dict[str, Connection] = {}
    markers = secrets.markers(spec)
    for name, service in spec.services.items():
        leases = {port.name: facts.stack.lease(name, port.name) for port in service.ports}
        ports = {port: lease.host_port if lease else _ANY_PORT for port, lease in leases.items()}
        kind = kinds.get(service.kind)
        found[name] = kind.connection(service, connections.host_of(service, facts.stack), ports, markers.get(name, {}))
    return found


def _labels(service: ServiceSpec, made: Mapping[str, Any]) -> dict[str, str]:
    parts = digest.process_aspects(made)
    own = {
        "service": service.name,
        "kind": service.kind,
        "digest": digest.of(parts),
        "aspects": json.dumps(parts, sort_keys=True, ensure_ascii=False),
        "data": data_digest(service, made),
        "ports": json.dumps({port.container_port: port.name for port in service.ports}),
    }
    return {LABEL_PREFIX + key: value for key, value in own.items()}


def data_digest(service: ServiceSpec, made: Mapping[str, Any]) -> str:
    """Changes when data made by an older definition cannot serve this one.

    That is another program's, another database's, or what began as other data.
    """
    prepared = [made["prepared"]["key"]] if "prepared" in made else []
    return digest.of([service.kind, made.get("program"), dict(service.options), made.get("data"), *prepared])
