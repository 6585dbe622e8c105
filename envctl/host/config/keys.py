"""The table of keys: what may stand in a configuration, what each means and the form of its value.

The checker takes the names, the JSON Schema takes all of it, so that an editor and `load` agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from envctl.host.config.ports import AUTO, PORT_NAME
from envctl.host.config.process import SIGNALS
from envctl.host.config.values import VARIABLE_NAME
from envctl.host.config.volumes import VOLUME_NAME

Schema = dict[str, Any]

SERVICE_NAME = r"[a-z][a-z0-9_-]{0,39}"
PROJECT_NAME = r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}"
# Conservative: registry, path, tag and digest as Docker writes them; never an option, a space or a control character.
IMAGE = r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}(@sha256:[0-9a-f]{64})?"
ENGINES = ("auto", "compose", "embedded", "swarm")
SYSTEM = "system"
PULL_POLICIES = ("missing", "always", "never")
# A registry's host as Docker tells it from a user of Docker Hub: with a dot, with a port, or localhost.
_HOST = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
MIRROR = rf"({_HOST}(\.{_HOST})+(:[0-9]{{1,5}})?|{_HOST}:[0-9]{{1,5}}|localhost)(/[a-z0-9][a-z0-9._-]*)*"
DURATION = r"([0-9]+(\.[0-9]+)?(ms|[smhd]))+"
SIZE = r"[0-9]+(\.[0-9]+)?[bkmgtBKMGT]([iI]?[bB])?"
HTTP_PATH = r"/[^\s#]*"

_VARIABLE = r"\$"


def matching(pattern: str) -> Schema:
    """Text that matches as a whole, or holds a variable whose value only `load` knows."""
    return {"type": "string", "pattern": rf"^(?:{pattern})$|{_VARIABLE}"}


def or_variable(schema: Schema) -> Schema:
    """What `schema` allows, or text with a variable."""
    return {"anyOf": [schema, {"type": "string", "pattern": _VARIABLE}]}


PULL_POLICY: Schema = matching("|".join(PULL_POLICIES))
TEXT: Schema = {"type": "string", "minLength": 1}
WORD: Schema = {"type": ["string", "number", "boolean"]}
WORDS: Schema = {"anyOf": [TEXT, {"type": ["number", "boolean"]}, {"type": "array", "items": WORD, "minItems": 1}]}
PORT_NUMBER: Schema = or_variable({"type": "integer", "minimum": 1, "maximum": 65535})
PORT: Schema = {
    "anyOf": [
        PORT_NUMBER,
        matching(rf"([0-9]{{1,5}}:)?[0-9]{{1,5}}|{AUTO}"),
        {
            "type": "object",
            "properties": {"container": PORT_NUMBER, "host": PORT_NUMBER},
            "required": ["container"],
            "additionalProperties": False,
        },
    ]
}


def pairs(name: str) -> Schema:
    """Names with values, as a mapping or as a list."""
    values = {"type": "object", "propertyNames": {"pattern": f"^(?:{name})$"}, "additionalProperties": WORD}
    return {"anyOf": [values, {"type": "array", "items": matching(rf"{name}=[\s\S]*")}]}


def closed(properties: Mapping[str, Schema], *required: str) -> Schema:
    """A mapping of exactly these keys."""
    schema: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return schema | ({"required": list(required)} if required else {})


READY: Schema = {
    **closed(
        {
            "http": {
                "anyOf": [
                    matching(HTTP_PATH),
                    closed(
                        {
                            "path": matching(HTTP_PATH),
                            "port": TEXT,
                            "status": or_variable({"type": "integer", "minimum": 100, "maximum": 599}),
                        },
                        "path",
                    ),
                ]
            },
            "tcp": {
                "anyOf": [
                    {"const": True},
                    TEXT,
                    {**closed({"port": TEXT, "send": TEXT, "expect": TEXT}), "dependentRequired": {"send": ["expect"]}},
                ]
            },
            "log": {
                "anyOf": [
                    TEXT,
                    closed(
                        {"pattern": TEXT, "count": or_variable({"type": "integer", "minimum": 1, "maximum": 1000})},
                        "pattern",
                    ),
                ]
            },
            "exec": WORDS,
        }
    ),
    "minProperties": 1,
    "maxProperties": 1,
}

BUILD: Schema = {
    "anyOf": [
        TEXT,
        closed({"context": TEXT, "dockerfile": TEXT, "target": TEXT, "args": pairs(VARIABLE_NAME)}),
    ]
}

VOLUME: Schema = {
    "anyOf": [
        matching(r"[^:]+:/[^:]+(:ro)?"),
        closed({"name": matching(VOLUME_NAME), "target": matching("/.+")}, "name", "target"),
        closed({"file": TEXT, "target": matching("/.+")}, "file", "target"),
    ]
}

DATA_COMMAND = closed(
    {
        "command": {"anyOf": [TEXT, {"type": "array", "items": WORD, "minItems": 1}]},
        "inputs": {"type": "array", "items": TEXT},
        "cwd": TEXT,
    },
    "command",
)


def seed_of(step: Schema) -> Schema:
    """One step, or a list of them."""
    return {"anyOf": [step, {"type": "array", "items": step}]}


@dataclass(frozen=True, slots=True)
class Key:
    """One key: a sentence for people, shown by editors, and the form of its value."""

    description: str
    schema: Schema


ENGINE_OPTIONS: Mapping[str, Key] = {
    "postgres_bin": Key(
        "PostgreSQL for the embedded engine: the folder of its programs, the server's own path, or system.", TEXT
    ),
    "redis_bin": Key("redis-server for the embedded engine: its path, its folder, or system.", TEXT),
    "valkey_bin": Key("valkey-server for the embedded engine: its path, its folder, or system.", TEXT),
}

TOP: Mapping[str, Key] = {
    "name": Key("The project's name; by default the repository folder's.", matching(PROJECT_NAME)),
    "engine": Key("Where services run; auto: compose if a Docker engine answers, else embedded.", {"enum": [*ENGINES]}),
    "ttl": Key("Lifetime, such as 8h; by default none on a workstation.", matching(DURATION)),
    "ready_timeout": Key("One deadline for the whole environment to become ready; 60s.", matching(DURATION)),
    "services": Key("The services, by name. A service named after a kind is of that kind.", {}),
    "export": Key(
        'Variables your tests expect beside the standard ones, such as "{postgres.url}".',
        {
            "type": "object",
            "propertyNames": {"pattern": f"^(?!ENVCTL_){VARIABLE_NAME}$"},
            "additionalProperties": WORD,
        },
    ),
    "publish_address": Key(
        "Host address on which ports are published; 127.0.0.1. Any other one lets other machines in.", TEXT
    ),
    "pull": Key("When images are asked for at their registry: missing (the default), always or never.", PULL_POLICY),
    "registry_mirror": Key(
        "HOST[:PORT][/PATH] from which images of Docker Hub are pulled instead; empty: from Docker Hub.",
        {"anyOf": [matching(MIRROR), {"const": ""}]},
    ),
    "snapshots": Key(
        "Whether migrated and seeded data is kept for later ones; true, or max_size of all (5g), or unseeded too.",
        {
            "anyOf": [
                or_variable({"type": "boolean"}),
                closed({"max_size": matching(SIZE), "unseeded": or_variable({"type": "boolean"})}),
            ]
        },
    ),
    "engine_options": Key(
        "Which programs of this machine the embedded engine runs, instead of those it brings.",
        closed({name: {**key.schema, "description": key.description} for name, key in ENGINE_OPTIONS.items()}),
    ),
}

SERVICE: Mapping[str, Key] = {
    "kind": Key("What the service is, where its name does not say it.", {}),
    "image": Key("Image reference.", matching(IMAGE)),
    "build": Key("Folder inside the project whose Dockerfile makes the image.", BUILD),
    "process": Key(
        "Command that runs from the working tree, under every engine; it listens on $PORT.",
        {"anyOf": [TEXT, {"type": "array", "items": WORD, "minItems": 1}]},
    ),
    "cwd": Key("Folder a process runs in; by default that of this file.", TEXT),
    "inputs": Key(
        "Files a process is made from, such as src/**: when one changed, `envctl up` starts it again.",
        {"type": "array", "items": TEXT},
    ),
    "stop_signal": Key(
        "Signal that asks a process to end; SIGTERM.",
        matching(f"(SIG)?({'|'.join(signal.removeprefix('SIG') for signal in SIGNALS)})"),
    ),
    "command": Key("Arguments instead of the image's own.", WORDS),
    "environment": Key(
        'Variables inside the service; values may hold references such as "{postgres.url}".',
        pairs(r"[A-Za-z_][A-Za-z0-9_.-]*"),
    ),
    "port": Key("The main port the service listens on; HOST:CONTAINER fixes the host's too; auto for a process.", PORT),
    "ports": Key(
        "All ports by name, the main one first.",
        {"type": "object", "propertyNames": {"pattern": f"^(?:{PORT_NAME})$"}, "additionalProperties": PORT},
    ),
    "ready": Key("How to see that the service is ready, instead of its kind's own handshake.", READY),
    "depends_on": Key(
        "Services that must be ready before this one starts.", {"type": "array", "items": {"type": "string"}}
    ),
    "volumes": Key("Named volumes, and read-only files of the project.", {"type": "array", "items": VOLUME}),
    "memory": Key("Memory limit, such as 512m; at least 6m.", matching(SIZE)),
    "persist": Key("Whether the data survives `envctl down`.", or_variable({"type": "boolean"})),
    "pull": Key("When its image is asked for at its registry, where another time than for all.", PULL_POLICY),
    "migrate": Key(
        "Command that brings the data up to the repository's schema; run again when one of its inputs changed.",
        {"anyOf": [TEXT, DATA_COMMAND]},
    ),
    "seed": Key(
        "Files that fill the service, and commands that do, in this order; patterns such as fixtures/*.sql.",
        seed_of({"anyOf": [TEXT, DATA_COMMAND]}),
    ),
    "reset": Key("How Postgres goes back to the seeded data: auto (the default), tables or template.", {}),
}
DATA = ("migrate", "seed", "reset")

# Compose's keys that would break the isolation between environments, or between a service and the machine.
UNSAFE: Mapping[str, str] = {
    "privileged": "gives the service the whole machine",
    "cap_add": "gives the service rights over the machine",
    "devices": "gives the service devices of the machine",
    "network_mode": "takes the service out of the environment's own network",
    "pid": "shows the service the machine's processes",
    "ipc": "shares the machine's memory with the service",
    "userns_mode": "takes the service out of its user namespace",
    "security_opt": "changes what protects the machine from the service",
    "container_name": "makes two environments collide; names are given by envctl",
    "volumes_from": "mounts what belongs to others",
}

# Compose's keys with another word for the same thing here.
ELSEWHERE: Mapping[str, str] = {
    "healthcheck": "use ready",
    "env_file": "use environment",
    "expose": "use ports",
    "entrypoint": "use command, or build an image; a program of the repository runs by process",
    "working_dir": "use cwd with process; an image has its own",
    "watch": "use inputs with process",
    "restart": "not needed: a service that ends is reported",
    "networks": "not needed: all services of an environment see each other",
    "mem_limit": "use memory",
    "pull_policy": "use pull",
    "deploy": "use memory",
    "configs": 'use volumes: ["./file:/path/inside"]',
    "secrets": "passwords are made and handed over by envctl",
    "links": "use depends_on",
    "migrations": "use migrate",
    "fixtures": "use seed",
    "hostname": "not needed: a service's name is its host name",
    "profiles": "write another file and use --file",
    "extends": "use a YAML anchor",
    "labels": "not available",
    "user": "build an image with another USER",
}
