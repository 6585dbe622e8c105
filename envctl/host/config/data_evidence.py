"""What a repository shows about its data: the tool that migrates it, the files and scripts that fill it.

These are suggestions: whether a command works here, and whether tests want that data, is not seen from files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from envctl.host.config.source import Unreadable, read_text

# A lock file → what runs a program of the packages it locks.
_PYTHON = {"uv.lock": "uv run ", "poetry.lock": "poetry run ", "pdm.lock": "pdm run "}
_NODE = {"npm": "npx ", "pnpm": "pnpm exec ", "yarn": "yarn ", "bun": "bunx "}

_MIGRATIONS = ("migrations", "db/migrations", "db/migrate", "sql/migrations", "src/migrations", "drizzle")
_SCHEMAS = ("db/schema.sql", "db/structure.sql", "sql/schema.sql", "schema.sql")
_FIXTURES = ("fixtures", "db/fixtures", "tests/fixtures", "test/fixtures", "db/seeds", "seeds")
_FLYWAY = ("flyway.toml", "flyway.conf", "conf/flyway.toml", "conf/flyway.conf")
_FLYWAY_COMMAND = (
    'flyway -url="jdbc:postgresql://$PGHOST:$PGPORT/$PGDATABASE" -user="$PGUSER" -password="$PGPASSWORD" migrate'
)


class Suggestion(NamedTuple):
    """A setting of a service, and what it was seen by."""

    key: str
    value: object
    found: str


def look(root: Path, scripts: Mapping[str, str], runner: str) -> dict[str, list[Suggestion]]:
    """Kind → suggestions for a service of it, at most one for each key.

    Args:
        root: The repository.
        scripts: Those of its package.json.
        runner: What runs them: "npm".
    """
    migrate = next(_migrations(root, scripts, runner), None)
    steps = list(_seeds(root, scripts, runner, migrated=migrate is not None))
    found = {"postgres": [migrate] if migrate else []}
    if steps:
        found["postgres"].append(Suggestion("seed", [value for value, _ in steps], ", ".join(by for _, by in steps)))
    for name in ("fixtures/redis.json", "fixtures/redis.yaml", "fixtures/redis.yml"):
        if _is_file(root / name) and "redis" not in found:
            found["redis"] = [Suggestion("seed", [name], name)]
    return found


def _migrations(root: Path, scripts: Mapping[str, str], runner: str) -> Iterator[Suggestion]:
    """The likeliest first: a tool whose command is known, then the repository's own script, then other tools."""
    node, python = _NODE[runner], next((start for file, start in _PYTHON.items() if _is_file(root / file)), "")
    folders = [f"{name}/**" for name in _MIGRATIONS if _is_dir(root / name)]
    if _is_file(root / "prisma/schema.prisma"):
        done = "migrate deploy" if _is_dir(root / "prisma/migrations") else "db push"
        yield _command(f"{node}prisma {done}", ["prisma/**"], "prisma/schema.prisma")
    if script := next((name for name in ("db:migrate", "migrate:deploy", "migrate") if name in scripts), None):
        yield _command(f"{runner} run {script}", folders, f"script {script} in package.json")
    if _is_file(root / "alembic.ini"):
        yield _command(f"{python}alembic upgrade head", _alembic(root), "alembic.ini")
    if _is_file(root / "manage.py"):
        yield _command(f"{python}python manage.py migrate --noinput", ["**/migrations/*.py"], "manage.py")
    if _is_file(root / "knexfile.js") or _is_file(root / "knexfile.ts"):
        yield _command(f"{node}knex migrate:latest", folders, "knexfile")
    if _is_file(root / "drizzle.config.ts"):
        yield _command(f"{node}drizzle-kit migrate", folders, "drizzle.config.ts")
    if file := next((name for name in _FLYWAY if _is_file(root / name)), None):
        inputs = [f"{name}/**" for name in ("sql", "migrations", "db/migration") if _is_dir(root / name)]
        yield _command(_FLYWAY_COMMAND, inputs, file)
    if _is_dir(root / "src/main/resources/db/migration"):
        place = "src/main/resources/db/migration"
        yield _command(
            _FLYWAY_COMMAND.replace("flyway ", f"flyway -locations=filesystem:{place} ", 1), [f"{place}/**"], place
        )


def _command(line: str, inputs: list[str], found: str) -> Suggestion:
    return Suggestion("migrate", {"command": line} | ({"inputs": inputs} if inputs else {}), found)


def _alembic(root: Path) -> list[str]:
    """The folder that the file names, if it is one of the repository."""
    named = re.search(r"(?m)^\s*script_location\s*=\s*(?:%\(here\)s/)?([\w./-]+)\s*$", _text(root / "alembic.ini"))
    folders = [named[1] if named else "", "alembic", "migrations"]
    plain = [name.strip("/").removeprefix("./") for name in folders]
    return [f"{name}/**" for name in plain if name and _is_dir(root / name)][:1]


def _seeds(root: Path, scripts: Mapping[str, str], runner: str, *, migrated: bool) -> Iterator[tuple[object, str]]:
    """Each step with what it was seen by. Where a tool migrates, a schema is its result and not its beginning."""
    schema = next((name for name in _SCHEMAS if _is_file(root / name)), None)
    if schema and not migrated:
        yield schema, schema
    elif not migrated:
        for folder in _MIGRATIONS:
            if pattern := _plain_migrations(root / folder):
                yield f"{folder}/{pattern}", f"{folder}/{pattern}"
                break
    for folder in _FIXTURES:
        for suffix in ("sql", "csv"):
            if next((root / folder).glob(f"*.{suffix}"), None):
                yield f"{folder}/*.{suffix}", f"{folder}/*.{suffix}"
    if script := next((name for name in ("db:seed", "seed") if name in scripts), None):
        yield {"command": f"{runner} run {script}"}, f"script {script} in package.json"


def _plain_migrations(folder: Path) -> str | None:
    """Of tools that write the way back beside, only the way there."""
    names = [file.name for file in folder.glob("*.sql")]
    if not names:
        return None
    return "*.up.sql" if any(name.endswith(".up.sql") for name in names) else "*.sql"


def _is_file(path: Path) -> bool:
    with suppress(OSError):  # a folder that may not be entered shows nothing
        return path.is_file()
    return False


def _is_dir(path: Path) -> bool:
    with suppress(OSError):
        return path.is_dir()
    return False


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except Unreadable:
        return ""
