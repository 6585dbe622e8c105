"""The Compose document of a stack, as plain `docker compose -f FILE up` accepts it.

Each service starts from `compose/generic/compose.yaml` (what hardens every container), then its kind's fragment, then
what the kind says for this service, then what the user says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from envctl import kinds
from envctl.errors import Unsupported
from envctl.model import BuildSpec, Connection, ExecReady, ServiceSpec
from envctl.model import EnvironmentSpec as Spec
from envctl.plan import connections, digest, references, secrets
from envctl.plan.facts import Facts, KindAssets
from envctl.plan.labels import LABEL_PREFIX
from envctl.plan.processes import is_process

CHECK_FOLDER = "/envctl"

# For a check the user gives; the kinds' fragments bring their own. `start_interval` counts only beside `start_period`.
_CHECK_TIMING = {"interval": "30s", "timeout": "5s", "retries": 3, "start_period": "60s", "start_interval": "500ms"}


def compose_document(spec: Spec, facts: Facts) -> dict[str, Any]:
    """The whole document. Equal inputs give equal documents; no secret is in it.

    Args:
        spec: The configuration.
        facts: Leases, labels, capabilities and the kinds' assets.
    """
    spec = _contained(spec, facts)
    inside = connections.inside(spec, secrets.markers(spec))
    services = {name: _service(service, spec, facts, inside) for name, service in spec.services.items()}
    labels = {LABEL_PREFIX + key: value for key, value in facts.labels.items()}
    for name, service in services.items():
        service["labels"] = labels | _service_labels(spec.services[name], service, facts)
    document: dict[str, Any] = {"name": facts.stack.project, "services": services}
    document["networks"] = {"default": _network(facts, labels)}
    if volumes := _volumes(spec, facts, labels):
        document["volumes"] = volumes
    if used := _secrets(spec):
        document["secrets"] = used
    if configs := _configs(spec, facts):
        document["configs"] = configs
    interpolated: dict[str, Any] = _strings(document, secrets.interpolation)
    return interpolated


def _contained(spec: Spec, facts: Facts) -> Spec:
    """The part of the configuration that runs in containers. Raises Unsupported: it needs a process of this machine."""
    inside = {name: service for name, service in spec.services.items() if not is_process(service, facts.capabilities)}
    for service in inside.values():
        named = [references.services_in(value) for value in service.environment.values()]
        for other in sorted({*service.depends_on}.union(*named) & (spec.services.keys() - inside.keys())):
            raise _out_of_reach(service.name, other)
    return replace(spec, services=inside)


def _out_of_reach(service: str, other: str) -> Unsupported:
    return Unsupported(
        f'service "{service}" runs in a container, and cannot reach "{other}", a process of this machine',
        cause="processes listen on 127.0.0.1 only, which inside a container is the container itself",
        fix=[
            f"give services.{service} a process too, or services.{other} an image",
            "or run all of it without containers: envctl up --engine embedded",
        ],
        subject={"service": service, "needs": other},
        state="nothing was created",
    )


def image_of(service: ServiceSpec, facts: Facts) -> str:
    """The image reference a service runs: the one with its prepared data, or else its own."""
    prepared = facts.prepared.get(service.name)
    return prepared.source if prepared and prepared.source else own_image(service, facts)


def own_image(service: ServiceSpec, facts: Facts) -> str:
    """The image reference without any data: the user's, its kind's, or the tag of what is built for it."""
    if service.build is not None:
        return f"{facts.stack.project}-{service.name}:{digest.of(_build_inputs(service.build))}"
    if service.image is not None:
        return service.image
    kind = kinds.get(service.kind)
    return f"envctl-{kind.name}:{facts.assets[kind.name].digest[:12]}" if kind.bundled else kind.image or ""


def data_volume(service: ServiceSpec, facts: Facts) -> str | None:
    """Name (within the stack) of the volume that holds the service's own data, or None where it lies elsewhere."""
    target = kinds.get(service.kind).data_target(service)
    if target is None or service.name in facts.prepared or any(volume.target == target for volume in service.volumes):
        return None
    return f"{service.name}-data"


def _service(service: ServiceSpec, spec: Spec, facts: Facts, inside: Mapping[str, Connection]) -> dict[str, Any]:
    kind, assets = kinds.get(service.kind), facts.assets[service.kind]
    merged = _merge(_literal(facts.assets[kinds.GENERIC].fragment), _literal(assets.fragment))
    merged = _merge(merged, kind.container(service, spec))
    if prepared := facts.prepared.get(service.name):
        merged = _merge(merged, kind.outside(service, spec, filled=bool(prepared.source)))
    merged["image"] = image_of(service, facts)
    merged.pop("build", None)  # the fragment's is for use by hand
    merged |= {"pull_policy": "never"} if prepared and prepared.source else _build(service, assets)
    merged["environment"] = dict(merged.get("environment") or {}) | {
        name: references.resolve(value, inside, facts.identity) for name, value in service.environment.items()
    }
    if service.command and "command" not in kind.container(service, spec):
        merged["command"] = list(service.command)
    memory = service.memory_bytes or kind.memory_bytes
    merged |= {"mem_limit": memory, "memswap_limit": memory, "ports": _ports(service, facts)}
    merged |= _mounts(service, assets, facts) | _secret_uses(service, spec)
    merged["healthcheck"] = _healthcheck(service, merged.get("healthcheck"), spec, facts)
    merged["depends_on"] = _depends_on(service, spec, facts)
    return {key: value for key, value in merged.items() if value not in (None, {}, [])}


def _build(service: ServiceSpec, assets: KindAssets) -> dict[str, Any]:
    if kinds.get(service.kind).bundled and _kinds_own_image(service):
        return {"build": {"context": assets.folder}}
    if service.build is None:
        return {}
    build = service.build
    known = {"context": build.context, "dockerfile": build.dockerfile, "target": build.target, "args": dict(build.args)}
    return {"build": {key: value for key, value in known.items() if value}}


def _build_inputs(build: BuildSpec) -> list[object]:
    return [build.dockerfile, build.target, dict(build.args), build.fingerprint]


def _ports(service: ServiceSpec, facts: Facts) -> list[str]:
    address = facts.stack.publish_address
    address = f"[{address}]" if ":" in address else address
    leases = {port: facts.stack.lease(service.name, port.name) for port in service.ports}
    # Without a lease (nothing was reserved, the document is only shown) the engine chooses the host port.
    return [f"{address}:{lease.host_port if lease else ''}:{port.container_port}" for port, lease in leases.items()]


def _mounts(service: ServiceSpec, assets: KindAssets, facts: Facts) -> dict[str, Any]:
    volumes, configs, memory = [], [], []
    for number, volume in enumerate(service.volumes):
        if volume.name is not None:
            volumes.append(f"{volume.name}:{volume.target}")
        else:
            configs.append({"source": f"{service.name}_file_{number}", "target": volume.target})
    target, data = kinds.get(service.kind).data_target(service), data_volume(service, facts)
    if data and target:
        volumes.append(f"{data}:{target}")
    elif target and service.name in facts.prepared:
        memory.append(target)  # empty: else the engine would make a volume for it that nobody uses
    if assets.healthcheck and _kinds_own_image(service):
        source = f"{service.kind}_healthcheck"
        configs.append({"source": source, "target": f"{CHECK_FOLDER}/{assets.healthcheck[0]}"})
    return {"volumes": volumes, "configs": configs, "tmpfs": memory}


def _secret_uses(service: ServiceSpec, spec: Spec) -> dict[str, Any]:
    readers = kinds.get(service.kind).secret_readers(service, spec)
    return {"secrets": [secrets.secret_name(owner, secret) for owner, secret in readers]}


def _healthcheck(service: ServiceSpec, fragment: Any, spec: Spec, facts: Facts) -> dict[str, Any] | None:
    """The kind's check, or the user's `ready: {exec: …}`; engines before 25 get a short interval instead.

    envctl itself does not wait for it, and each run costs the engine a new process in the container: it is frequent
    at first only where another service waits for it.
    """
    check: dict[str, Any] | None = dict(fragment) if fragment and _kinds_own_image(service) else None
    if isinstance(service.ready, ExecReady):
        check = _CHECK_TIMING | (check or {}) | {"test": ["CMD", *service.ready.command]}
    if check:
        awaited = any(service.name in other.depends_on for other in spec.services.values())
        check["start_interval"] = "250ms" if awaited else "2s"
    if check and not facts.capabilities.start_interval:
        check["interval"] = "2s"
        check.pop("start_interval", None)
    return check


def _kinds_own_image(service: ServiceSpec) -> bool:
    """Whether the kind knows the image well enough to run its check inside: a user's server may lack the program."""
    return not kinds.get(service.kind).bundled or (service.image is None and service.build is None)


def _depends_on(service: ServiceSpec, spec: Spec, facts: Facts) -> dict[str, Any]:
    def condition(name: str) -> str:
        other = spec.services[name]
        fragment = facts.assets[other.kind].fragment
        checked = fragment.get("healthcheck") and _kinds_own_image(other)
        checked = checked or isinstance(other.ready, ExecReady)
        return "service_healthy" if checked else "service_started"

    return {name: {"condition": condition(name)} for name in service.depends_on}


def _network(facts: Facts, labels: Mapping[str, str]) -> dict[str, Any]:
    network: dict[str, Any] = {"name": facts.stack.project, "labels": dict(labels)}
    if facts.stack.subnet:
        network["ipam"] = {"config": [{"subnet": facts.stack.subnet}]}
    return network


def _volumes(spec: Spec, facts: Facts, labels: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for service in spec.services.values():
        own = data_volume(service, facts)
        names = [volume.name for volume in service.volumes if volume.name] + ([own] if own else [])
        for name in names:
            persist = {LABEL_PREFIX + "persist": "true"} if service.persist else {}
            found[name] = {"labels": dict(labels) | persist}
    return found


def _secrets(spec: Spec) -> dict[str, Any]:
    return {
        secrets.secret_name(name, secret): {"environment": secrets.variable(name, secret)}
        for name, service in spec.services.items()
        for secret in kinds.get(service.kind).secrets
    }


def _configs(spec: Spec, facts: Facts) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for service in spec.services.values():
        check = facts.assets[service.kind].healthcheck
        if check and _kinds_own_image(service):
            found[f"{service.kind}_healthcheck"] = {"content": check[1]}
        for number, volume in enumerate(service.volumes):
            if volume.content is not None:
                found[f"{service.name}_file_{number}"] = {"content": volume.content}
    return found


def _service_labels(service: ServiceSpec, rendered: Mapping[str, Any], facts: Facts) -> dict[str, str]:
    files = [volume.content for volume in service.volumes if volume.content is not None]
    # Which image holds the prepared data does not matter, only what shaped that.
    whole = {**rendered, "image": own_image(service, facts)}
    parts = digest.aspects({**whole, "configs": [rendered.get("configs"), files]} if files else whole)
    prepared = facts.prepared.get(service.name)
    if prepared:
        parts |= {"data": prepared.key, "image id": prepared.made_with}
    own = {
        "service": service.name,
        "kind": service.kind,
        "digest": digest.of(parts),
        "aspects": json.dumps(parts, sort_keys=True, ensure_ascii=False),
        "data": prepared.key if prepared else data_digest(service, str(rendered["image"])),
        "ports": json.dumps({port.container_port: port.name for port in service.ports}),
    }
    return {LABEL_PREFIX + key: value for key, value in own.items()}


def data_digest(service: ServiceSpec, image: str) -> str:
    """Changes when data made by an older definition cannot serve this one: another image or another database."""
    return digest.of([service.kind, image, dict(service.options), kinds.get(service.kind).data_target(service)])


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on `base`: mappings are merged one level deep, anything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = {**old, **value} if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _literal(fragment: Mapping[str, Any]) -> dict[str, Any]:
    """A fragment as values: it is written for Compose, where `$$` stands for `$`; its own extras (`x-…`) stay out."""
    value = _strings(dict(fragment), lambda text: text.replace("$$", "$"))
    return {key: part for key, part in value.items() if not key.startswith("x-")}


def _strings(value: Any, change: Callable[[str], str]) -> Any:
    """`value` with `change` applied to every string that is a value (keys stay)."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _strings(part, change) for key, part in value.items()}
    if isinstance(value, Sequence):
        return [_strings(part, change) for part in value]
    return value
