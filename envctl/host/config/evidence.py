"""What a repository shows about the services its tests need, apart from a Compose file.

Only names are taken from these files, never values: a `.env` may hold real passwords.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envctl.host.config import data_evidence
from envctl.host.config.data_evidence import Suggestion
from envctl.host.config.source import Unreadable, read_text

# Library → the kind of service it talks to.
NODE_LIBRARIES = {
    **dict.fromkeys(
        ("pg", "postgres", "prisma", "@prisma/client", "typeorm", "knex", "sequelize", "drizzle-orm"), "postgres"
    ),
    **dict.fromkeys(("redis", "ioredis", "bullmq", "bull"), "redis"),
    **dict.fromkeys(("ws", "socket.io", "socket.io-client"), "websocket"),
}
PYTHON_LIBRARIES = {
    **dict.fromkeys(
        ("psycopg", "psycopg2", "psycopg2-binary", "asyncpg", "sqlalchemy", "django", "sqlmodel"), "postgres"
    ),
    **dict.fromkeys(("redis", "celery", "rq", "valkey"), "redis"),
    **dict.fromkeys(("websockets",), "websocket"),
}
# Scripts that start a server, the one meant for tests first; and what runs them, by its lock file.
SCRIPTS = ("start:test", "dev", "start")
RUNNERS = {"pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn", "bun.lock": "bun", "bun.lockb": "bun"}
ENV_FILES = (".env.test", ".env.testing", ".env.ci", ".env.example", ".env.sample", ".env")

_STANDARD = re.compile(r"DATABASE_URL|PG[A-Z]+|REDIS_URL|WS_URL|WS_TOKEN|POSTGRES_.*|REDIS_.*|WEBSOCKET_.*|ENVCTL_.*")
_NAMES: tuple[tuple[str, str, str], ...] = (
    (r"(\w+_)?(DATABASE|POSTGRES(QL)?|PG|DB)_?(URL|URI|DSN)", "postgres", "url"),
    (r"(\w+_)?(REDIS|VALKEY|CELERY_BROKER|CACHE)_?(URL|URI)", "redis", "url"),
    (r"(\w+_)?(WS|WEBSOCKET|SOCKET)_?(URL|URI|ENDPOINT)", "websocket", "url"),
    (r"(\w+_)?(DB|DATABASE)_HOST", "postgres", "host"),
    (r"(\w+_)?(DB|DATABASE)_PORT", "postgres", "port"),
    (r"(\w+_)?(DB|DATABASE)_(USER|USERNAME)", "postgres", "user"),
    (r"(\w+_)?(DB|DATABASE)_(PASSWORD|PASS)", "postgres", "password"),
    (r"(\w+_)?(DB|DATABASE)_(NAME|DATABASE)", "postgres", "database"),
)


@dataclass(slots=True)
class Evidence:
    """What was found.

    Attributes:
        name: The project's name by its package file, or None.
        kinds: Kind → where it was seen ("package.json: pg").
        expected: Variable name → (kind, attribute) it should get, with the file it was seen in.
        script: Command that starts the repository's own server ("npm run dev"), or None.
        scripts: Those of package.json.
        data: Kind → what may be said of the data of a service of it.
        notes: What could not be read.
    """

    name: str | None = None
    kinds: dict[str, list[str]] = field(default_factory=dict)
    expected: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    script: str | None = None
    scripts: dict[str, str] = field(default_factory=dict)
    data: dict[str, list[Suggestion]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def look(root: Path) -> Evidence:
    """Looks at the package files and the `.env` files of `root`. Never raises for what they hold."""
    evidence = Evidence()
    for file, reader in (("package.json", _package_json), ("pyproject.toml", _pyproject)):
        if text := _text(root / file, evidence):
            try:
                reader(text, evidence)
            except (ValueError, TypeError, AttributeError, RecursionError):
                evidence.notes.append(f"{file} could not be read")
    runner = next((runner for file, runner in RUNNERS.items() if (root / file).is_file()), "npm")
    if evidence.script:
        evidence.script = f"{runner} run {evidence.script}"
    evidence.data = data_evidence.look(root, evidence.scripts, runner)
    for file in ("requirements.txt", "requirements-dev.txt", "requirements/base.txt", "requirements/test.txt"):
        for line in _text(root / file, evidence).splitlines():
            _seen(_requirement(line), PYTHON_LIBRARIES, file, evidence)
    for file in ENV_FILES:
        for name in re.findall(r"(?m)^\s*(?:export\s+)?([A-Z][A-Z0-9_]{0,60})\s*=", _text(root / file, evidence)):
            _expected(name, file, evidence)
    return evidence


def _text(path: Path, evidence: Evidence) -> str:
    try:
        return read_text(path)
    except Unreadable as error:
        if not error.absent:
            evidence.notes.append(f"{path.name} {error}")
        return ""


def _package_json(text: str, evidence: Evidence) -> None:
    import json

    data = json.loads(text)
    name = data.get("name")
    evidence.name = name.rpartition("/")[2] if isinstance(name, str) else None
    if isinstance(scripts := data.get("scripts"), dict):
        evidence.scripts = {name: line for name, line in scripts.items() if isinstance(line, str)}
        evidence.script = next((script for script in SCRIPTS if script in evidence.scripts), None)
    for group in ("dependencies", "devDependencies", "peerDependencies"):
        for library in data.get(group) or {}:
            _seen(library, NODE_LIBRARIES, "package.json", evidence)


def _pyproject(text: str, evidence: Evidence) -> None:
    import tomllib

    data = tomllib.loads(text)
    poetry = (data.get("tool") or {}).get("poetry") or {}
    name = (data.get("project") or {}).get("name") or poetry.get("name")
    evidence.name = evidence.name or (name if isinstance(name, str) else None)
    for requirement in _python_requirements(data, poetry):
        _seen(_requirement(str(requirement)), PYTHON_LIBRARIES, "pyproject.toml", evidence)


def _python_requirements(data: Mapping[str, Any], poetry: Mapping[str, Any]) -> Iterator[object]:
    project = data.get("project") or {}
    yield from project.get("dependencies") or ()
    for group in (project.get("optional-dependencies") or {}, data.get("dependency-groups") or {}):
        for requirements in group.values():
            yield from requirements
    yield from poetry.get("dependencies") or ()
    for group in (poetry.get("group") or {}).values():
        yield from group.get("dependencies") or ()


def _requirement(line: str) -> str:
    """The name in a requirement line such as `psycopg[binary]>=3.2 ; python_version > "3"`."""
    match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", line)
    return re.sub(r"[-_.]+", "-", match[1]).lower() if match else ""


def _seen(library: str, known: Mapping[str, str], file: str, evidence: Evidence) -> None:
    if library in known:
        places = evidence.kinds.setdefault(known[library], [])
        if (place := f"{file}: {library}") not in places:
            places.append(place)


def _expected(name: str, file: str, evidence: Evidence) -> None:
    if _STANDARD.fullmatch(name):
        return
    for pattern, kind, attribute in _NAMES:
        if re.fullmatch(pattern, name):
            evidence.expected.setdefault(name, (kind, attribute, file))
            return
