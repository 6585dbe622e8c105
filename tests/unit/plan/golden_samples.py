"""Representative configurations and what is planned for them; `scripts/golden` writes the expected texts again.

A sample is the text of an envctl.yaml, what was found running, and what the engine can do. Everything that differs
between machines and runs (paths, digests of the bundled server's source, random ids) is fixed here.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from envctl import kinds
from envctl.host import assets
from envctl.host.config import default_spec, load
from envctl.model import (
    Capabilities,
    EnvironmentSpec,
    Identity,
    Observed,
    ObservedService,
    PortLease,
    Program,
    ServiceSpec,
    ServiceState,
    Stack,
)
from envctl.plan.document import compose_document, image_of
from envctl.plan.facts import Facts, KindAssets
from envctl.plan.labels import LABEL_PREFIX
from envctl.plan.planner import plan
from envctl.plan.processes import is_process
from envctl.plan.steps import Plan

GOLDEN = Path(__file__).parents[2] / "golden"
KINDS_OF_FILE = (".plan.txt", ".compose.yaml", ".processes.json")
PASSWORD = "a-password-that-must-not-be-in-any-document"

GENERIC = """
services:
  redis: {}
  mailer:
    image: axllent/mailpit
    ports: {smtp: 1025, http: 8025}
    ready: {http: {port: http, path: /livez}}
  worker:
    image: busybox
    command: [sh, -c, 'echo "$HOME $${x}"; exec sleep 600']
    environment: {CACHE: "{redis.url}", SMTP: "{mailer.smtp}", PRICE: "$5", WHO: "{env.branch}"}
    volumes: ["./settings.ini:/etc/settings.ini", "data:/data"]
    ready: {exec: [test, -f, /tmp/ready]}
    memory: 64m
  after: {image: busybox, command: sleep 600, depends_on: [redis, mailer, worker]}
"""
TWO_POSTGRES = """
name: shop
services:
  postgres: {image: "postgres:17", database: shop, persist: true}
  archive: {kind: postgres, user: keeper, port: "15432:5432", memory: 512m}
"""
OWN_WEBSOCKET = """
services:
  redis: {}
  websocket: {image: "ghcr.io/example/chat:2", port: 8080, path: /chat, ready: {http: /healthz}, depends_on: [redis]}
"""
BUILT = """
services:
  postgres: {}
  server:
    build: {context: ./server, target: dev, args: {VERSION: "1"}}
    port: 3000
    environment: {DATABASE_URL: "{postgres.url}"}
    depends_on: [postgres]
"""
PULLED = """
pull: always
registry_mirror: mirror.example:5000/hub
services:
  redis: {}
  mailer: {image: axllent/mailpit, ports: {smtp: 1025}}
  mailer-2: {image: axllent/mailpit, ports: {smtp: 1025}}
  chat: {image: "ghcr.io/example/chat:2"}
  worker: {image: busybox, pull: missing}
  tool: {image: "tool:local", pull: never}
"""
PERSISTENT_REDIS = """
services:
  redis: {image: "valkey/valkey:8", persist: true, command: [--maxmemory, 64mb]}
"""
PROCESSES = """
services:
  postgres: {}
  mailer: {image: axllent/mailpit, ports: {smtp: 1025, http: 8025}}
  websocket:
    process: npm run start:test
    port: auto
    path: /live
    inputs: ["src/**"]
    environment: {SMTP: "{mailer.smtp}", PRICE: "$5"}
  worker: {process: [node, worker.js], depends_on: [postgres], stop_signal: INT, ready: {log: waiting}}
  admin: {process: npm run admin, ports: {http: auto, metrics: "9101:9100"}, depends_on: []}
export: {TEST_DATABASE_URL: "{postgres.url}"}
"""
OWN_SERVER = """
services:
  postgres: {database: shop, persist: true}
  redis: {image: "valkey/valkey:8"}
  websocket: {process: node server.js, inputs: ["src/**"]}
"""
EMBEDDED = Capabilities("embedded", containers=False, builds=False, inline_configs=False, start_interval=False)
PROGRAMS = {
    "postgres": Program(
        "PostgreSQL", "18.6", "/opt/pg/bin", {name: f"/opt/pg/bin/{name}" for name in ("postgres", "initdb", "psql")}
    ),
    "redis": Program("Valkey", "9.0.1", "/opt/valkey", {"server": "/opt/valkey/valkey-server"}),
    "websocket": Program("Python", "3.13.1", "/opt/python/bin", {"python": "/opt/python/bin/python3"}),
}


@dataclass(frozen=True)
class Sample:
    """One case.

    Attributes:
        text: Its envctl.yaml; empty for no file.
        capabilities: What the engine can do.
        observed: What runs already, made from the plan for an empty engine.
        images: Images the engine lacks.
    """

    text: str = ""
    capabilities: Capabilities = field(default_factory=lambda: Capabilities("compose", "28.0.0"))
    observed: Callable[[EnvironmentSpec, Facts, Plan], Observed] | None = None
    absent: tuple[str, ...] = ()


def _running(spec: EnvironmentSpec, facts: Facts, first: Plan) -> dict[str, ObservedService]:
    """All services, running exactly as planned."""
    found = {}
    services: Mapping[str, Any] = first.document["services"] | first.processes  # type: ignore[operator]  # both are mappings
    for name in spec.services:
        labels = services[name]["labels"]
        found[name] = ObservedService(
            name=name,
            handle=f"{name}-id",
            state=ServiceState.RUNNING,
            digest=labels[LABEL_PREFIX + "digest"],
            aspects=json.loads(labels[LABEL_PREFIX + "aspects"]),
            data_digest=labels[LABEL_PREFIX + "data"],
        )
    return found


def _everything(spec: EnvironmentSpec, facts: Facts, first: Plan) -> Observed:
    return Observed(_running(spec, facts, first), (facts.stack.project,))


def _drifted(spec: EnvironmentSpec, facts: Facts, first: Plan) -> Observed:
    """One of each: changed, exited, with an image that moved, gone, and one nobody wants any more."""
    found = _running(spec, facts, first)
    found["redis"] = replace(found["redis"], state=ServiceState.EXITED, exit_code=137)
    older = {**found["mailer"].aspects, "image": "axllent/mailpit:older", "environment": "{}"}
    found["mailer"] = replace(found["mailer"], digest="older", aspects=older)
    found["worker"] = replace(found["worker"], image_moved=True)
    del found["after"]
    found["gone"] = replace(found["redis"], name="gone", handle="gone-id", state=ServiceState.RUNNING)
    return Observed(found, (facts.stack.project,))


def _mailer_ended(spec: EnvironmentSpec, facts: Facts, first: Plan) -> Observed:
    """All runs as planned but one."""
    found = _running(spec, facts, first)
    found["mailer"] = replace(found["mailer"], state=ServiceState.EXITED, exit_code=1)
    return Observed(found, (facts.stack.project,))


def _older_data(spec: EnvironmentSpec, facts: Facts, first: Plan) -> Observed:
    """Both databases were made by another version."""
    found = {
        name: replace(service, digest="older", data_digest="older", aspects={**service.aspects, "image": "postgres:16"})
        for name, service in _running(spec, facts, first).items()
    }
    return Observed(found, (facts.stack.project,), (f"{facts.stack.project}_postgres-data",))


def _changed_inputs(spec: EnvironmentSpec, facts: Facts, first: Plan) -> Observed:
    """A file of the server was edited, and the worker has ended by itself."""
    found = _running(spec, facts, first)
    server = found["websocket"]
    found["websocket"] = replace(server, digest="older", aspects={**server.aspects, "inputs": "older"})
    found["worker"] = replace(found["worker"], state=ServiceState.EXITED, exit_code=1)
    return Observed(found, (facts.stack.project,))


def _older_program(spec: EnvironmentSpec, facts: Facts, first: Plan) -> Observed:
    """The programs that made the data are others now; only one of the two services keeps its data."""
    found = _running(spec, facts, first)
    for name, program in (("postgres", "PostgreSQL 18.5"), ("redis", "Valkey 8.1.0")):
        aspects = {**found[name].aspects, "program": program}
        found[name] = replace(found[name], digest="older", data_digest="older", aspects=aspects)
    return Observed(found)


def _moved(spec: EnvironmentSpec, facts: Facts, first: Plan) -> Observed:
    """The server ran in a container, the database as a process."""
    found = _running(spec, facts, first)
    server, database = found["websocket"], found["postgres"]
    found["websocket"] = replace(server, digest="older", data_digest="older", aspects=database.aspects)
    found["postgres"] = replace(database, digest="older", data_digest="older", aspects=server.aspects)
    return Observed(found)


SAMPLES: Mapping[str, Sample] = {
    "default": Sample(absent=("postgres:18", "envctl-websocket:0123456789ab")),
    "engine-before-25": Sample(capabilities=Capabilities("compose", "24.0.9", start_interval=False)),
    "nothing-to-do": Sample(observed=_everything),
    "generic": Sample(GENERIC, absent=("axllent/mailpit", "busybox")),
    "drifted": Sample(GENERIC, observed=_drifted),
    "two-postgres": Sample(TWO_POSTGRES),
    "older-data": Sample(TWO_POSTGRES, observed=_older_data),
    "own-websocket": Sample(OWN_WEBSOCKET, absent=("ghcr.io/example/chat:2",)),
    "built": Sample(BUILT, absent=("envctl-shop-main-3fa91c02-server",)),
    "persistent-redis": Sample(PERSISTENT_REDIS),
    "pulled": Sample(PULLED, absent=("axllent/mailpit", "busybox")),
    "pulled-drifted": Sample(PULLED, observed=_mailer_ended),
    "processes": Sample(PROCESSES, absent=("axllent/mailpit",)),
    "changed-inputs": Sample(PROCESSES, observed=_changed_inputs),
    "moved": Sample(PROCESSES, observed=_moved),
    "embedded-default": Sample(capabilities=EMBEDDED),
    "embedded-nothing-to-do": Sample(capabilities=EMBEDDED, observed=_everything),
    "embedded-own-server": Sample(OWN_SERVER, capabilities=EMBEDDED),
    "embedded-older-program": Sample(OWN_SERVER, capabilities=EMBEDDED, observed=_older_program),
}


def spec_of(sample: Sample) -> EnvironmentSpec:
    """The sample's configuration, as if it were in /project."""
    if not sample.text:
        return default_spec()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "settings.ini").write_text("[main]\nprice = $5 or ${x}\n")
        (folder / "server").mkdir()
        (folder / "server" / "Dockerfile").write_text("FROM busybox\n")
        (folder / "envctl.yaml").write_text(sample.text)
        spec = load(folder / "envctl.yaml", folder, {})
    services = {key: _fixed(one) for key, one in spec.services.items()}
    return replace(spec, services=services, source="/project/envctl.yaml")


def _fixed(service: ServiceSpec) -> ServiceSpec:
    """The service without what differs between machines."""
    if service.build:
        service = replace(service, build=replace(service.build, context="/project/server", fingerprint="f1"))
    if service.process:
        mark = "0123456789abcdef" if service.process.inputs else ""
        service = replace(service, process=replace(service.process, cwd="/project", fingerprint=mark))
    return service


def facts_of(sample: Sample, spec: EnvironmentSpec) -> Facts:
    """The facts for a sample: leases from 20000 on, and the kinds' real fragments."""
    ports = [
        PortLease(name, port.name, port.container_port, port.host_port or 20000 + number, port.host_port is not None)
        for number, (name, port) in enumerate((n, p) for n, s in spec.services.items() for p in s.ports)
    ]
    name = "shop-main-3fa91c02"
    facts = Facts(
        identity=Identity("shop", "main", "/project", "", "3fa91c02" * 8, name),
        stack=Stack(
            id="0a1b2c3d4e5f",
            project=f"envctl-{name}",
            engine=sample.capabilities.engine,
            endpoint="unix:///var/run/docker.sock" if sample.capabilities.containers else "",
            subnet="10.213.0.0/28" if sample.capabilities.containers else None,
            ports=tuple(ports),
            credentials={name: dict.fromkeys(kinds.get(s.kind).secrets, PASSWORD) for name, s in spec.services.items()},
        ),
        capabilities=sample.capabilities,
        assets={kind: _assets(kind) for kind in {s.kind for s in spec.services.values()} | {kinds.GENERIC}},
        labels={"registry": "4e60c5b1", "environment": name, "stack": "0a1b2c3d4e5f"},
        programs={} if sample.capabilities.containers else PROGRAMS,
    )
    contained = [service for service in spec.services.values() if not is_process(service, sample.capabilities)]
    images = [image_of(service, facts) for service in contained]
    return replace(facts, images={one: not any(one.startswith(a) for a in sample.absent) for one in images})


def _assets(kind: str) -> KindAssets:
    bundled = kinds.get(kind).bundled
    folder, digest = f"/envctl/compose/{kind}", "0123456789abcdef" if bundled else ""
    check = assets.healthcheck(kind)
    fixed = (check[0], f"#!/bin/sh\n# the check of {kind}, for $HOME\n") if check else None
    return KindAssets(assets.fragment(kind), fixed, folder, digest)


def plan_of(sample: Sample) -> Plan:
    """The plan of a sample."""
    spec = spec_of(sample)
    facts = facts_of(sample, spec)
    first = plan(spec, facts)
    if sample.observed is None:
        return first
    return plan(spec, replace(facts, observed=sample.observed(spec, facts, first)))


def texts() -> dict[str, str]:
    """File name → expected text: the plan of each sample, and the definitions of those that start from nothing."""
    found = {}
    for name, sample in SAMPLES.items():
        planned = plan_of(sample)
        found[f"{name}.plan.txt"] = str(planned)
        if sample.observed is not None:
            continue
        if planned.document["services"]:
            spec = spec_of(sample)
            document = compose_document(spec, facts_of(sample, spec))
            found[f"{name}.compose.yaml"] = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
        if planned.processes:
            found[f"{name}.processes.json"] = json.dumps(planned.processes, indent=1, ensure_ascii=False) + "\n"
    return found


def write() -> None:
    """Write all files again, and remove those that no sample has."""
    expected = texts()
    GOLDEN.mkdir(exist_ok=True)
    for file in GOLDEN.iterdir():
        if file.name.endswith(KINDS_OF_FILE) and file.name not in expected:
            file.unlink()
    for name, text in expected.items():
        (GOLDEN / name).write_text(text, encoding="utf-8")
    sys.stdout.write(f"{len(expected)} files in {GOLDEN}\n")


if __name__ == "__main__":
    write()
