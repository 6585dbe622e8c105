"""Stacks found by their labels alone: what a lost or damaged registry is rebuilt from."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from envctl.engines.base import Found
from envctl.engines.docker import cli
from envctl.engines.docker.endpoint import Endpoint
from envctl.errors import EnvctlError
from envctl.model import Identity, PortLease, Stack
from envctl.plan.facts import LABEL_PREFIX

_ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - what Docker means by no address; read here, never bound


def find_all(where: Endpoint, engine: str, registry_id: str) -> list[Found]:
    """Every stack whose containers carry the registry's id.

    Args:
        where: The engine to look at.
        engine: Name of the engine, for the records.
        registry_id: The registry's id.
    """
    arguments = ["ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={LABEL_PREFIX}registry={registry_id}"]
    handles = cli.run(where, arguments, doing="list containers").split()
    if not handles:
        return []
    containers = json.loads(cli.run(where, ["inspect", *handles], doing="inspect containers", limit_s=60))
    by_stack: dict[str, list[Mapping[str, Any]]] = {}
    for container in containers:
        by_stack.setdefault(_label(container, "stack"), []).append(container)
    return [_found(where, engine, stack, members) for stack, members in sorted(by_stack.items())]


def _found(where: Endpoint, engine: str, stack_id: str, members: Sequence[Mapping[str, Any]]) -> Found:
    first = members[0]
    identity = Identity(
        project=_label(first, "project"),
        branch=_label(first, "branch"),
        checkout=_label(first, "checkout"),
        label=_label(first, "label"),
        key=_label(first, "key"),
        name=_label(first, "environment"),
    )
    project = str(first["Config"]["Labels"].get("com.docker.compose.project", ""))
    bindings = [binding for member in members for binding in _bindings(member)]
    stack = Stack(
        id=stack_id,
        project=project,
        engine=engine,
        endpoint=str(where),
        host=where.host,
        publish_address=next((address for address, _ in bindings), where.host),
        subnet=_subnet(where, project),
        ports=tuple(lease for _, lease in bindings),
        credentials=_credentials(where, members),
    )
    expires, config = _label(first, "expires"), _label(first, "config")
    return Found(identity, stack, config or None, _label(first, "created"), expires or None, {})


def _label(container: Mapping[str, Any], name: str) -> str:
    return str(container["Config"]["Labels"].get(LABEL_PREFIX + name, ""))


def _bindings(container: Mapping[str, Any]) -> Iterable[tuple[str, PortLease]]:
    """Address and lease of each published port, as asked for, so that stopped containers tell them too."""
    names = json.loads(_label(container, "ports") or "{}")
    for inner, outers in (container["HostConfig"].get("PortBindings") or {}).items():
        number = int(inner.split("/")[0])
        for outer in outers or ():
            name = names.get(str(number), str(number))
            lease = PortLease(_label(container, "service"), name, number, int(outer["HostPort"]))
            yield str(outer.get("HostIp") or _ALL_ADDRESSES), lease


def _subnet(where: Endpoint, project: str) -> str | None:
    form = "{{range .IPAM.Config}}{{.Subnet}}{{end}}"
    try:
        return cli.run(where, ["network", "inspect", "--format", form, project], doing="inspect a network").strip()
    except EnvctlError:
        return None


def _credentials(where: Endpoint, members: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """The secrets, copied out of the containers they were put into; works for stopped ones too."""
    found: dict[str, dict[str, str]] = {}
    for member in members:
        service = _label(member, "service")
        for name, value in _secret_files(where, str(member["Id"])):
            if name.startswith(f"{service}_"):
                found.setdefault(service, {})[name.removeprefix(f"{service}_")] = value
    return found


def _secret_files(where: Endpoint, handle: str) -> Iterable[tuple[str, str]]:
    call = cli.start(where, ["cp", f"{handle}:/run/secrets", "-"], doing="read secrets")
    out, _ = call.process.communicate(timeout=cli.CALL_LIMIT_S)
    if call.process.returncode != 0:
        return  # a service without secrets
    with tarfile.open(fileobj=io.BytesIO(out)) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            if file is not None:
                yield member.name.rsplit("/", 1)[-1], file.read().decode()
