"""The schema for editors agrees with the checker, and the documentation with both."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from envctl import kinds
from envctl.errors import ConfigInvalid, UnsafeSetting
from envctl.host.config import json_schema, load
from envctl.host.config.keys import SERVICE, TOP
from envctl.host.config.nodes import compose, plain_data

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "configuration.md"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the files the documentation's examples name."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "Dockerfile").write_text("FROM scratch\n")
    for name in ("schema.sql", "db/schema.sql", "fixtures/a.csv", "fixtures/redis.json", "prisma/a", "server/seed.ts"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("select 1;\n")
    return tmp_path


def loads(project: Path, text: str) -> bool:
    """Whether `load` accepts `text`."""
    (project / "envctl.yaml").write_text(text)
    try:
        load(None, project, {})
    except (ConfigInvalid, UnsafeSetting):
        return False
    return True


def values(text: str) -> Any:
    """`text` as an editor sees it."""
    return json.loads(json.dumps(plain_data(compose(text))))


def test_the_schema_is_one() -> None:
    """It is valid draft 2020-12 and can be written as JSON."""
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert json.loads(json.dumps(json_schema())) == json_schema()


def test_every_setting_is_described() -> None:
    """Editors show a sentence for each key, those of each kind included."""
    schema = json_schema()
    assert set(schema["properties"]) == set(TOP)
    for name in kinds.names():
        properties = schema["$defs"][f"kind_{name}"]["properties"]
        assert set(properties) == {*SERVICE, *kinds.get(name).options}
        assert all(value["description"] for value in properties.values())


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_every_example_of_the_documentation_loads(project: Path, number: int) -> None:
    """Each YAML block of the reference is accepted by `load` and by the schema."""
    (project / "envctl.yaml").write_text(EXAMPLES[number])
    load(None, project, {})
    VALIDATOR.validate(values(EXAMPLES[number]))


def test_the_documentation_names_every_setting() -> None:
    """No key is missing from the reference."""
    text = DOCUMENT.read_text("utf-8")
    options = {option for name in kinds.names() for option in kinds.get(name).options}
    assert [key for key in {*TOP, *SERVICE, *options} - {"kind"} if f"`{key}`" not in text] == []


BOTH_REFUSE = [
    "nmae: a",
    "name: ../x",
    "engine: docker",
    "ttl: 30",
    "ttl: '30'",
    "services: {}",
    "services: []",
    "services: {Db: {image: a}}",
    "services: {x: {}}",
    "services: {x: ~}",
    "services: {x: {image: a, build: ./server}}",
    "services: {x: {image: 'a b'}}",
    "services: {x: {image: a, database: b}}",
    "services: {redis: {path: /ws}}",
    "services: {redis: {database: a}}",
    "services: {redis: {kind: generic}}",
    "services: {postgres: {imgae: a}}",
    "services: {db: {image: 'postgres:16', ready: {tcp: true}, user: a}}",
    "services: {x: {image: a, port: 0}}",
    "services: {x: {image: a, port: '1:2:3'}}",
    "services: {x: {image: a, port: {host: 80}}}",
    "services: {x: {image: a, ports: [80]}}",
    "services: {x: {image: a, ports: {A: 80}}}",
    "services: {x: {image: a, port: 80, ready: {}}}",
    "services: {x: {image: a, port: 80, ready: {http: x}}}",
    "services: {x: {image: a, port: 80, ready: {http: /, tcp: true}}}",
    "services: {x: {image: a, port: 80, ready: {tcp: false}}}",
    "services: {x: {image: a, port: 80, ready: {tcp: {send: a}}}}",
    "services: {x: {image: a, ready: {log: {count: 1}}}}",
    "services: {x: {image: a, volumes: [/data]}}",
    "services: {x: {image: a, volumes: [{name: a}]}}",
    "services: {x: {image: a, memory: lots}}",
    "services: {x: {image: a, persist: 'yes'}}",
    "services: {x: {image: a, environment: {1A: b}}}",
    "services: {x: {image: a, environment: [A]}}",
    "services: {x: {image: a, depends_on: redis}}",
    "services: {x: {image: a, command: []}}",
    "services: {x: {image: a, privileged: true}}",
    "services: {x: {process: ''}}",
    "services: {x: {process: []}}",
    "services: {x: {process: 5}}",
    "services: {x: {process: a, image: b}}",
    "services: {websocket: {process: a, build: ./server}}",
    "services: {x: {process: a, command: b}}",
    "services: {x: {process: a, volumes: ['a:/b']}}",
    "services: {x: {process: a, memory: 64m}}",
    "services: {x: {process: a, persist: true}}",
    "services: {x: {image: a, cwd: ./server}}",
    "services: {redis: {inputs: [a]}}",
    "services: {redis: {stop_signal: INT}}",
    "services: {x: {process: a, stop_signal: SIGSTOP}}",
    "services: {x: {process: a, inputs: src/**}}",
    "services: {x: {process: a, database: b}}",
    "services: {x: {image: a, port: auto}}",
    "services: {redis: {ports: {metrics: auto}}}",
    "services: {x: {process: a, port: automatic}}",
    "pull: sometimes",
    "pull: true",
    "services: {redis: {pull: daily}}",
    "services: {x: {process: a, pull: never}}",
    "services: {x: {build: ./server, pull: never}}",
    "registry_mirror: mirror",
    "registry_mirror: https://mirror.example",
    "registry_mirror: mirror.example/",
    "registry_mirror: mirror.example/Hub",
    "registry_mirror: ~",
    "snapshots: 5g",
    "snapshots: {max_size: 5}",
    "snapshots: {max_sise: 5g}",
    "services: {postgres: {migrate: [a, b]}}",
    "services: {postgres: {migrate: {inputs: ['db/**']}}}",
    "services: {postgres: {migrate: {command: a, input: ['db/**']}}}",
    "services: {postgres: {migrate: {command: []}}}",
    "services: {postgres: {migrate: {command: a, inputs: 'db/**'}}}",
    "services: {postgres: {seed: ''}}",
    "services: {postgres: {seed: [[db/schema.sql]]}}",
    "services: {postgres: {seed: [{inputs: ['db/**']}]}}",
    "services: {postgres: {seed: [5]}}",
    "services: {postgres: {reset: truncate}}",
    "services: {redis: {reset: auto}}",
    "services: {websocket: {seed: [db/schema.sql]}}",
    "services: {x: {image: a, seed: db/schema.sql}}",
    "engine_options: {postgres: system}",
    "engine_options: {redis_bin: 5}",
    "engine_options: [redis_bin]",
    "export: {ENVCTL_A: b}",
    "export: {A-B: b}",
]

BOTH_ACCEPT = [
    "",
    "services: {x: {kind: redis, database: 3}}",
    "services: {x: {kind: redis, database: '3'}}",
    "services: {db: {image: 'postgres:16', user: a}}",
    "services: {db: {image: 'docker.io/library/postgres', user: a}}",
    "services: {redis: {kind: generic, image: a}}",
    "services: {x: {image: a, port: '80'}}",
    "services: {x: {image: a, port: '${P:-80}', persist: '${Q:-true}', memory: '${M:-64m}'}}",
    "services: {x: {image: a, command: [sleep, 1, true], environment: {A: 1.5, B: true, C: ''}}}",
    "services: {x: {image: a, port: 80, ready: {tcp: main}}}",
    "services: {x: {image: 'a@sha256:" + "0" * 64 + "'}}",
    "x-anything: [1]\nservices: {websocket: {}}",
    "services: {x: {image: a, environment: [A=b, B=]}}",
    "services: {x: {process: a}}",
    "services: {x: {process: [node, server.js, 3], port: auto, ready: {http: /}}}",
    "services: {x: {process: a, ports: {http: auto, metrics: '9100:9100'}, depends_on: []}}",
    "services: {x: {process: a, cwd: ./server, stop_signal: '${S:-INT}', inputs: ['server/**']}}",
    "services: {websocket: {process: a, path: /live, port: 3001}}",
    "services: {x: {process: a, kind: websocket}}",
    "pull: always\nservices: {redis: {pull: '${P:-never}'}}",
    "snapshots: false",
    "snapshots: {}",
    "snapshots: {max_size: '${S:-16m}'}",
    "snapshots: '${S:-true}'",
    "services: {postgres: {migrate: a b, seed: [], reset: '${R:-template}'}}",
    "services: {postgres: {migrate: {command: [a, 1], cwd: server, inputs: ['db/**']}, seed: {command: b}}}",
    "services: {postgres: {seed: [db/schema.sql, fixtures/*.csv, {command: b}]}, redis: {seed: fixtures/redis.json}}",
    "services: {x: {process: a, migrate: b, seed: {command: c}}}",
    "registry_mirror: mirror.example",
    "registry_mirror: localhost/hub",
    "registry_mirror: mirror:5000/docker-hub/proxy",
    "registry_mirror: '${MIRROR:-}'",
    "registry_mirror: ''",
    "engine_options: {postgres_bin: ./bin, redis_bin: system, valkey_bin: '${V:-system}'}",
]


@pytest.mark.parametrize("text", BOTH_REFUSE)
def test_what_load_refuses_the_schema_refuses(project: Path, text: str) -> None:
    """Mistakes of form are seen in the editor already."""
    assert not loads(project, text)
    assert not VALIDATOR.is_valid(values(text))


@pytest.mark.parametrize("text", BOTH_ACCEPT)
def test_what_load_accepts_the_schema_accepts(project: Path, text: str) -> None:
    """The editor never marks what works."""
    assert loads(project, text)
    assert VALIDATOR.is_valid(values(text))
