"""A first `envctl.yaml` for many kinds of repository."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from envctl.host.config import load, starter_file, starter_files
from envctl.model import EnvironmentSpec, HttpReady, SeedFile

COMPOSE = """
services:
  db:
    image: postgres:${PG:-16}
    environment: [POSTGRES_DB=shop, POSTGRES_USER=me, POSTGRES_PASSWORD=secret-word]
    ports: ["5432:5432"]
    volumes: [dbdata:/var/lib/postgresql/data, ./init:/docker-entrypoint-initdb.d]
    healthcheck: {test: pg_isready}
  Cache: {image: "valkey/valkey:8", command: redis-server --save ""}
  api:
    build: ./api
    ports: ["8080:80", "9090"]
    privileged: true
    environment: {DATABASE_URL: "postgres://me:secret-word@db:5432/shop", SECRET: "${SECRET}", N: 3, P: "a$$b"}
    depends_on: {db: {condition: service_healthy}}
    healthcheck: {test: ["CMD", "curl", "-f", "http://localhost/health"]}
  gone: {build: ./nope, depends_on: [db]}
volumes: {dbdata: }
"""


def started(root: Path, files: Mapping[str, str]) -> EnvironmentSpec:
    """The specification that the starter file for a repository of `files` gives."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    text = starter_file(root)
    (root / "envctl.yaml").write_text(text)
    return load(None, root, {})


def kinds_of(spec: EnvironmentSpec) -> dict[str, str]:
    """Kind by service."""
    return {service.name: service.kind for service in spec.services.values()}


def test_an_empty_repository_gets_the_default(tmp_path: Path) -> None:
    """Where nothing is found, the three default services are written out."""
    assert kinds_of(started(tmp_path, {})) == {"postgres": "postgres", "redis": "redis", "websocket": "websocket"}


def test_the_schema_lies_beside(tmp_path: Path) -> None:
    """The first line names the schema file that is written too, so editors need no network."""
    files = starter_files(tmp_path)
    assert list(files) == ["envctl.yaml", ".envctl.schema.json"]
    assert files["envctl.yaml"].startswith("# yaml-language-server: $schema=./.envctl.schema.json\n")
    assert json.loads(files[".envctl.schema.json"])["title"] == "envctl.yaml"


def test_a_compose_file_is_carried_over(tmp_path: Path) -> None:
    """Services, images, builds, ports, names and checks arrive; what cannot is said, and no password is copied."""
    spec = started(tmp_path, {"docker-compose.yml": COMPOSE, "api/Dockerfile": ""})
    assert kinds_of(spec) == {"db": "postgres", "cache": "redis", "api": "generic"}
    assert spec.services["db"].image == "postgres:16"
    assert spec.services["db"].options == {"database": "shop", "user": "me"}
    api = spec.services["api"]
    assert api.build is not None
    assert [(p.name, p.container_port, p.host_port) for p in api.ports] == [
        ("http", 80, None),
        ("port9090", 9090, None),
    ]
    assert api.environment == {"DATABASE_URL": "{db.url}", "N": "3", "P": "a$b"}
    assert (api.ready, api.depends_on) == (HttpReady("/health", "http"), ("db",))
    text = (tmp_path / "envctl.yaml").read_text()
    assert "secret-word" not in text
    for said in ("./init:/docker-entrypoint-initdb.d", "privileged", "SECRET has no value", "gone was left out"):
        assert said in text


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"package.json": '{"dependencies": {"pg": "8"}, "devDependencies": {"ws": "8"}}'}, {"postgres", "websocket"}),
        ({"package.json": '{"dependencies": {"bullmq": "8", "socket.io": "4"}}'}, {"redis", "websocket"}),
        ({"pyproject.toml": '[project]\nname = "x"\ndependencies = ["psycopg[binary]>=3"]'}, {"postgres"}),
        ({"pyproject.toml": '[tool.poetry.group.test.dependencies]\ncelery = "*"'}, {"redis"}),
        ({"requirements.txt": "# x\nDjango==5 # y\nwebsockets\n-r other\n"}, {"postgres", "websocket"}),
    ],
)
def test_libraries_show_the_services(tmp_path: Path, files: Mapping[str, str], expected: set[str]) -> None:
    """Client libraries in the package files decide which of the services are written."""
    assert set(kinds_of(started(tmp_path, files))) == expected


@pytest.mark.parametrize(
    ("files", "name", "command"),
    [
        ({"package.json": '{"scripts": {"start": "a", "start:test": "b"}}'}, "websocket", "npm run start:test"),
        ({"package.json": '{"scripts": {"dev": "a"}, "dependencies": {"ws": "8"}}'}, "websocket", "npm run dev"),
        ({"package.json": '{"scripts": {"start": "a"}, "dependencies": {"pg": "8"}}'}, "server", "npm run start"),
        (
            {"package.json": '{"scripts": {"dev": "a"}}', "pnpm-lock.yaml": "", "compose.yaml": COMPOSE,
             "api/Dockerfile": ""},
            "server",
            "pnpm run dev",
        ),
        (
            {"package.json": '{"scripts": {"dev": "a"}}', "yarn.lock": "",
             "compose.yaml": "services: {server: {image: a}, app: {image: b}}"},
            "own-server",
            "yarn run dev",
        ),
    ],
)  # fmt: skip
def test_the_repository_s_own_server_is_a_suggestion(
    tmp_path: Path, files: Mapping[str, str], name: str, command: str
) -> None:
    """A script that starts a server stands in a comment, which works when it is taken out."""
    before = started(tmp_path, files)
    assert not any(service.process for service in before.services.values())
    head, mark, rest = (tmp_path / "envctl.yaml").read_text().partition(f"  # {name}:\n")
    comment, _, after = (mark + rest).partition("\n\n")
    if name in before.services:
        head = head.replace(f"  {name}: {{}}\n", "")
    (tmp_path / "envctl.yaml").write_text(head + re.sub("(?m)^  # ", "  ", comment) + "\n\n" + after)
    found = load(None, tmp_path, {}).services[name]
    assert found.process is not None
    assert found.process.command == ("/bin/sh", "-c", command)
    assert found.process.inputs == ("src/**",)


@pytest.mark.parametrize("scripts", ["{}", "[]", '"a"', '{"build": "a"}', '{"dev": 5}', "null"])
def test_without_a_script_nothing_is_suggested(tmp_path: Path, scripts: str) -> None:
    """Odd or other scripts suggest no server, and stop nothing."""
    started(tmp_path, {"package.json": f'{{"name": "shop", "scripts": {scripts}}}'})
    assert "process" not in (tmp_path / "envctl.yaml").read_text()


DATA = [
    (
        {"prisma/schema.prisma": "", "prisma/migrations/1/migration.sql": "", "pnpm-lock.yaml": "", "db/schema.sql": "",
         "package.json": '{"scripts": {"db:seed": "a", "db:migrate": "b"}, "dependencies": {"pg": "8"}}'},
        ("pnpm exec prisma migrate deploy", ("prisma/**",)),
        ["pnpm run db:seed"],
    ),
    (
        {"alembic.ini": "[alembic]\nscript_location = %(here)s/server/alembic\n", "server/alembic/env.py": "",
         "uv.lock": "", "fixtures/b.sql": "", "fixtures/a.csv": "", "fixtures/a.sql": ""},
        ("uv run alembic upgrade head", ("server/alembic/**",)),
        ["fixtures/a.sql", "fixtures/b.sql", "fixtures/a.csv"],
    ),
    ({"db/schema.sql": "", "db/migrations/1.sql": "", "db/seeds/1.sql": ""}, None, ["db/schema.sql", "db/seeds/1.sql"]),
    ({"migrations/1.up.sql": "", "migrations/1.down.sql": ""}, None, ["migrations/1.up.sql"]),
    ({"migrations/1.sql": "", "migrations/2.sql": ""}, None, ["migrations/1.sql", "migrations/2.sql"]),
    (
        {"package.json": '{"scripts": {"db:migrate": "b"}, "dependencies": {"pg": "8"}}', "migrations/1.js": ""},
        ("npm run db:migrate", ("migrations/**",)),
        [],
    ),
    ({"manage.py": "", "shop/migrations/1.py": "", "requirements.txt": "django"},
     ("python manage.py migrate --noinput", ("**/migrations/*.py",)), []),
    ({"flyway.toml": "", "sql/V1__a.sql": ""}, ("flyway -url=", ("sql/**",)), []),
]  # fmt: skip


@pytest.mark.parametrize(("files", "migrate", "seed"), DATA)
def test_what_fills_the_database_is_a_suggestion(
    tmp_path: Path, files: Mapping[str, str], migrate: tuple[str, tuple[str, ...]] | None, seed: list[str]
) -> None:
    """Migrations and seeds stand in comments of the service, which work when they are taken out."""
    before = started(tmp_path, files).services["postgres"]
    assert (before.migrate, before.seed) == (None, ())
    text = (tmp_path / "envctl.yaml").read_text()
    (tmp_path / "envctl.yaml").write_text(re.sub("(?m)^    # (migrate|seed): ", r"    \1: ", text))
    found = load(None, tmp_path, {}).services["postgres"]
    command = found.migrate and (found.migrate.command[2], found.migrate.inputs)
    assert command == migrate or (command and migrate and command[0].startswith(migrate[0]))
    assert [step.path if isinstance(step, SeedFile) else step.command[2] for step in found.seed] == seed


def test_what_fills_a_database_of_a_compose_file_is_suggested(tmp_path: Path) -> None:
    """The folder that the official image runs at its first start becomes a seed, and goes before what was found."""
    started(tmp_path, {"compose.yaml": COMPOSE, "api/Dockerfile": "", "init/1.sql": "", "db/schema.sql": ""})
    text = (tmp_path / "envctl.yaml").read_text()
    assert text.count("# seed:") == 1
    assert '    # seed: ["./init/*.sql"]   # the mount ./init:/docker-entrypoint-initdb.d' in text


def test_nothing_is_suggested_that_would_be_refused(tmp_path: Path) -> None:
    """Inputs that match nothing, files that lead out, and data of services that are not there, stand nowhere."""
    (tmp_path / "fixtures").mkdir()
    (tmp_path / "fixtures" / "a.sql").symlink_to("/etc/hostname")
    started(tmp_path, {"manage.py": "", "requirements.txt": "psycopg", "fixtures/redis.json": "{}"})
    text = (tmp_path / "envctl.yaml").read_text()
    assert "migrate:" not in text
    assert "seed:" not in text


def test_names_of_env_files_become_exports_without_their_values(tmp_path: Path) -> None:
    """The names tests expect are exported; standard names already are; values are never read."""
    spec = started(
        tmp_path,
        {
            ".env.test": "TEST_DATABASE_URL=postgres://x:hidden@h/d\nDATABASE_URL=x\nDB_HOST=hidden\nAPI_KEY=hidden\n",
            ".env": "export CACHE_URL=redis://hidden\n",
            "package.json": '{"name": "@acme/shop", "dependencies": {"pg": "1", "redis": "1"}}',
        },
    )
    assert spec.export == {
        "TEST_DATABASE_URL": "{postgres.url}", "DB_HOST": "{postgres.host}", "CACHE_URL": "{redis.url}",
    }  # fmt: skip
    assert spec.project == "shop"
    assert "hidden" not in (tmp_path / "envctl.yaml").read_text()


ODD = {
    "named after a kind": "services: {redis: {image: 'bitnami/redis:7'}, postgres: {build: .}}",
    "websocket of its own": "services: {websocket: {image: 'a:1', ports: ['4000:4000', '5000:5000'], "
    "healthcheck: {test: curl http://localhost:4000/up}}}",
    "same names": "services: {My_Db: {image: postgres}, my-db: {image: postgres}, MY_DB: {image: redis}}",
    "odd names": "services: {'1': {image: a}, '_': {image: a}, 'ü x': {image: a}}",
    "circle": "services: {a: {image: a, depends_on: [b]}, b: {image: a, depends_on: [a]}}",
    "mounts": "services: {a: {image: a, volumes: "
    "[/:/x, /var/run/docker.sock:/s, ./a.sql:/a, x:/y, /anon, {type: bind}]}}",
    "bad image": "services: {a: {image: 'a b'}, b: {image: '${X}'}, c: {image: 5}}",
    "no services": "volumes: {a: }",
    "list": "[]",
    "broken": "services: {a: [",
    "odd types": "services: {a: {image: a, ports: x, environment: 5, command: {}, healthcheck: [], depends_on: 1}}",
    "braces": "services: {a: {image: a, environment: {A: '{b.url}', B: '{{x}}', C: '${D:-{}}'}, command: '${'}}",
    "ports": "services: {a: {image: a, ports: "
    "['53:53/udp', '8000-8010:8000-8010', '[::1]:80:80', 99999, {target: 81}]}}",
    "quotes": 'services: {a: {image: a, environment: {"A\'\\"": "x\\n#: y\'\\"", no: yes, \'a.b\': "\\u2028"}}}',
    "comment": 'services: {"a\\nservices: {x": {image: a, privileged: true, volumes: ["/a\\nb:/c"]}}',
}


@pytest.mark.parametrize("name", ODD)
def test_odd_compose_files_still_give_a_file_that_loads(tmp_path: Path, name: str) -> None:
    """Whatever cannot be carried over is left out; the result always loads."""
    assert started(tmp_path, {"compose.yaml": ODD[name]}).services


def test_unreadable_evidence_is_only_noted(tmp_path: Path) -> None:
    """A pipe, a folder or nonsense under an expected name stops nothing."""
    os.mkfifo(tmp_path / "package.json")
    (tmp_path / "pyproject.toml").write_text("[[[")
    (tmp_path / ".env").mkdir()
    (tmp_path / "compose.yaml").write_bytes(b"\xff\xfe")
    assert len(started(tmp_path, {}).services) == 3
    assert "package.json is a named pipe" in (tmp_path / "envctl.yaml").read_text()


_leaves = st.sampled_from(
    ["a", "80:80", "postgres:16", "redis", "./x", "a:/b", "${A}", "A=b", "", "\n", "{a.url}", "- x"]
)
_values = st.recursive(
    _leaves | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_leaves, inner, max_size=3),
    max_leaves=6,
)
_keys = st.sampled_from(
    ["image", "build", "ports", "environment", "command", "depends_on", "volumes", "healthcheck", "expose", "pid"]
)
_services = st.dictionaries(
    st.sampled_from(["db", "redis", "postgres", "websocket", "A b", "a_b", "a-b"]),
    st.dictionaries(_keys, _values, max_size=5),
    max_size=4,
)


@settings(
    max_examples=40,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(services=_services)
def test_any_compose_file_gives_a_file_that_loads(tmp_path: Path, services: object) -> None:
    """JSON is YAML: any tree of Compose's keys and wrong values."""
    started(tmp_path, {"compose.yaml": json.dumps({"services": services})})
