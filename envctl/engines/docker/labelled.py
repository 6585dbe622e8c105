"""Stacks found by their labels alone: what a lost or damaged registry is rebuilt from."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envctl.engines.docker import cli, listing
from envctl.engines.docker.endpoint import Endpoint
from envctl.errors import EnvctlError, Interrupted
from envctl.model import Found, PortLease, Stack
from envctl.plan.labels import LABEL_PREFIX, identity

# What is read of each thing, by the names used here.
_FULL_NAMES = (
    *(
        LABEL_PREFIX + name
        for name in ("stack", "environment", "key", "project", "branch", "checkout", "label", "config", "created")
    ),
    *(LABEL_PREFIX + "expires", LABEL_PREFIX + "persist", "com.docker.compose.project"),
)
_NAMES = (*(name.removeprefix(LABEL_PREFIX) for name in _FULL_NAMES[:-1]), "compose")
_ALL_ADDRESSES = "0.0.0.0"  # noqa: S104 - what Docker means by no address; read here, never bound


def find_all(where: Endpoint, engine: str, registry_id: str) -> list[Found]:
    """Every stack of which anything carries the registry's id, be it only a network or a volume.

    Args:
        where: The engine to look at.
        engine: Name of the engine, for the records.
        registry_id: The registry's id.
    """
    there = listing.lists(listing.ask(where, listing.NOUNS, {"label": [f"{LABEL_PREFIX}registry={registry_id}"]}))
    containers = _inspect(where, [str(one["Id"]) for one in there["container"]])
    parts = [_Part(_labels(one["Config"]), one) for one in containers]
    parts += [_Part(_labels(one)) for noun in ("network", "volume") for one in there[noun]]
    by_stack: dict[str, list[_Part]] = {}
    for part in parts:
        by_stack.setdefault(part.labels.get("stack", ""), []).append(part)
    return [_found(where, engine, stack, members) for stack, members in sorted(by_stack.items())]


@dataclass(frozen=True, slots=True)
class _Part:
    """Something that belongs to a stack.

    Attributes:
        labels: Our labels without their prefix, and Compose's project.
        container: What `docker inspect` tells, where it is a container.
    """

    labels: Mapping[str, str]
    container: Mapping[str, Any] | None = None


def _inspect(where: Endpoint, handles: Sequence[str]) -> list[Mapping[str, Any]]:
    if not handles:
        return []
    found: list[Mapping[str, Any]] = json.loads(
        cli.run(where, ["inspect", *handles], doing="inspect containers", limit_s=60)
    )
    return found


def _labels(thing: Mapping[str, Any]) -> dict[str, str]:
    labels: Mapping[str, str] = thing["Labels"]
    return {name: str(labels.get(full, "")) for name, full in zip(_NAMES, _FULL_NAMES, strict=True)}


def _found(where: Endpoint, engine: str, stack_id: str, members: Sequence[_Part]) -> Found:
    first = members[0].labels
    containers = [member.container for member in members if member.container is not None]
    bindings = [binding for container in containers for binding in _bindings(container)]
    stack = Stack(
        id=stack_id,
        project=first["compose"],
        engine=engine,
        endpoint=str(where),
        host=where.host,
        publish_address=next((address for address, _ in bindings), where.host),
        subnet=_subnet(where, first["compose"]),
        ports=tuple(lease for _, lease in bindings),
        credentials=_credentials(where, containers),
    )
    only_data = all(member.labels["persist"] == "true" for member in members)
    return Found(
        identity=identity(first),
        stack=stack,
        config_file=first["config"] or None,
        created_at=first["created"],
        expires_at=first["expires"] or None,
        only_data=only_data,
    )


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
    except Interrupted:
        raise
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
