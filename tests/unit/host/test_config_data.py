"""`migrate`, `seed`, `reset` and `snapshots`: what is read, what is refused, and what tells that a file changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from envctl import kinds
from envctl.errors import EnvctlError, UnsafeSetting
from envctl.host.config import changed_since, data_command, given, load, project_root, seed
from envctl.model import DataCommand, EnvironmentSpec, SeedFile, ServiceSpec
from envctl.plan import data_key

SHELL = ("/bin/sh", "-c")
FILES = (
    "db/schema.sql", "db/extra.sql", "fixtures/b.csv", "fixtures/a.csv", "fixtures/redis.json", "migrations/0001_a.sql",
    "migrations/deep/0002_b.sql", "server/seed.ts",
)  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project with the files of a database."""
    return project(tmp_path / "one")


def project(folder: Path) -> Path:
    """A project in `folder`, the same as any other."""
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / ".git").mkdir()
    return folder


def spec(folder: Path, text: str, environ: dict[str, str] | None = None) -> EnvironmentSpec:
    """The specification `text` gives as the file of `folder`."""
    (folder / "envctl.yaml").write_text(text)
    return load(None, folder, environ or {})


def postgres(folder: Path, settings: str) -> ServiceSpec:
    """The service `postgres` with `settings`, a flow mapping."""
    return spec(folder, f"services: {{postgres: {settings}}}").services["postgres"]


def problems(folder: Path, text: str) -> list[dict[str, Any]]:
    """The problems of a file that holds `text`."""
    with pytest.raises(EnvctlError) as caught:
        spec(folder, text)
    found = caught.value.subject["problems"]
    assert isinstance(found, list)
    return found


def digests(*names: str) -> tuple[tuple[str, str], ...]:
    """Files with the digests of what `project` writes into them."""
    return tuple((name, sha256(name.encode()).hexdigest()) for name in names)


def paths(service: ServiceSpec) -> list[str]:
    """The files of its seed, in their order."""
    return [step.path for step in service.seed if isinstance(step, SeedFile)]


# -- migrate -----------------------------------------------------------------------------------------------------------


def test_a_migration_with_everything(tree: Path) -> None:
    """The command is for the shell, the folder counts from the file, the files have the digests of their contents."""
    found = postgres(
        tree, "{migrate: {command: 'a --to $PGHOST', inputs: [migrations, ./db/*.sql], cwd: server}}"
    ).migrate
    files = digests("db/extra.sql", "db/schema.sql", "migrations/0001_a.sql", "migrations/deep/0002_b.sql")
    assert found == DataCommand(
        (*SHELL, "a --to $PGHOST"), str(tree / "server"), ("migrations/**", "db/*.sql"), files, "server"
    )


@pytest.mark.parametrize(
    ("settings", "command"),
    [
        ("{migrate: alembic upgrade head}", (*SHELL, "alembic upgrade head")),
        ("{migrate: {command: alembic upgrade head}}", (*SHELL, "alembic upgrade head")),
        ("{migrate: {command: [alembic, upgrade, '$HEAD', 5]}}", ("alembic", "upgrade", "$HEAD", "5")),
    ],
)
def test_a_migration_without_more(tree: Path, settings: str, command: tuple[str, ...]) -> None:
    """Alone it runs in the file's folder and depends on no file; a list is a program with its arguments."""
    assert postgres(tree, settings).migrate == DataCommand(command, str(tree), folder=".")


# -- seed --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("db/schema.sql", ["db/schema.sql"]),
        ("fixtures/*.csv", ["fixtures/a.csv", "fixtures/b.csv"]),
        ("[fixtures/b.csv, ./fixtures/*.csv]", ["fixtures/b.csv", "fixtures/a.csv"]),
        ("[db/schema.sql, db/*.sql, 'db/[es]*.sql']", ["db/schema.sql", "db/extra.sql"]),
        ("[db/schema.sql, db/schema.sql, server/../db/schema.sql]", ["db/schema.sql"] * 3),
        ("'migrations/**/*.sql'", ["migrations/0001_a.sql", "migrations/deep/0002_b.sql"]),
        ("'${DIR:-db}/schema.sql'", ["db/schema.sql"]),
        ("[]", []),
    ],
)
def test_the_files_of_a_seed(tree: Path, given: str, expected: list[str]) -> None:
    """In the order that is written, those of a pattern sorted; a pattern repeats nothing, a path does."""
    found = postgres(tree, f"{{seed: {given}}}").seed
    assert found == tuple(SeedFile(name, mark) for name, mark in digests(*expected))


def test_commands_stand_among_the_files(tree: Path) -> None:
    """Each step has its place; one alone needs no list."""
    command = "{command: npm run db:seed, inputs: [server/*.ts]}"
    step = DataCommand((*SHELL, "npm run db:seed"), str(tree), ("server/*.ts",), digests("server/seed.ts"))
    schema, *_ = (SeedFile(*mark) for mark in digests("db/schema.sql"))
    assert postgres(tree, f"{{seed: [{command}, db/schema.sql, {command}]}}").seed == (step, schema, step)
    assert postgres(tree, f"{{seed: {command}}}").seed == (step,)


def test_hidden_files_are_not_meant(tree: Path) -> None:
    """What editors and other systems leave beside a file is brought in only by a pattern that begins with a dot."""
    (tree / "db" / ".#schema.sql").symlink_to("someone@host.123")
    (tree / "db" / "._schema.sql").write_text("")
    assert paths(postgres(tree, "{seed: db/*.sql}")) == ["db/extra.sql", "db/schema.sql"]
    assert paths(postgres(tree, "{seed: db/.*.sql}")) == ["db/._schema.sql"]


def test_a_file_that_looks_like_a_pattern(tree: Path) -> None:
    """What is there under exactly this name is meant."""
    (tree / "db" / "[id].sql").write_text("")
    assert paths(postgres(tree, "{seed: 'db/[id].sql'}")) == ["db/[id].sql"]


def test_links_inside_the_project_are_files(tree: Path) -> None:
    """A file keeps the name it is called by, and has the content that is there."""
    (tree / "db" / "link.sql").symlink_to("../migrations/0001_a.sql")
    (tree / "linked").symlink_to("db")
    ((_, content),) = digests("migrations/0001_a.sql")
    assert postgres(tree, "{seed: [db/link.sql, db/l*.sql]}").seed == (SeedFile("db/link.sql", content),)
    assert paths(postgres(tree, "{seed: [linked/schema.sql, linked/../db/extra.sql]}")) == [
        "linked/schema.sql",
        "db/extra.sql",
    ]


@pytest.mark.parametrize(
    "setting",
    [
        "seed: ../x.sql", "seed: /etc/hostname", "seed: ~/x.sql", "seed: '/etc/*.sql'", "seed: '../*.sql'",
        "seed: db/out.sql", "seed: 'db/o*.sql'", "seed: out/hostname", "migrate: {command: a, cwd: ..}",
        "migrate: {command: a, inputs: [../x]}", "seed: {command: a, cwd: /tmp}",
    ],
)  # fmt: skip
def test_nothing_outside_the_project_is_used(tree: Path, setting: str) -> None:
    """Neither by a path nor by a pattern, nor through a link."""
    (tree / "db" / "out.sql").symlink_to("/etc/hostname")
    (tree / "out").symlink_to("/etc")
    with pytest.raises(UnsafeSetting) as caught:
        spec(tree, f"services: {{postgres: {{{setting}}}}}")
    assert len(caught.value.evidence) == 1


def test_inputs_read_nothing_outside(tree: Path) -> None:
    """A link that leads out, and what has no content, is no input; the rest is."""
    (tree / "db" / "out.sql").symlink_to("/proc/kmsg")
    (tree / "db" / "nowhere.sql").symlink_to("nowhere")
    os.mkfifo(tree / "db" / "pipe.sql")
    found = postgres(tree, "{migrate: {command: a, inputs: ['db/**']}}").migrate
    assert found is not None
    assert found.digests == digests("db/extra.sql", "db/schema.sql")


# -- mistakes ----------------------------------------------------------------------------------------------------------

WRONG = [
    ("postgres", "{migrate: [a, b]}", "must be a command or a mapping", "{command:"),
    ("postgres", "{migrate: }", "must be text, not nothing", ""),
    ("postgres", "{migrate: ''}", "must not be empty", ""),
    ("postgres", "{migrate: {}}", "names no command", "inputs:"),
    ("postgres", "{migrate: {command: ' '}}", "names no program", ""),
    ("postgres", "{migrate: {command: a, input: [b]}}", 'unknown key "input"', 'did you mean "inputs"?'),
    ("postgres", "{migrate: {command: a, inputs: ['prisma/**', b.sql]}}", "no file matches", "looked for from"),
    ("postgres", "{migrate: {command: a, inputs: b}}", "must be a list", ""),
    ("postgres", "{migrate: {command: a, inputs: ['!b']}}", "cannot take files away", ""),
    ("postgres", "{migrate: {command: a, cwd: nope}}", "does not exist", "looked for in"),
    ("postgres", "{migrate: {command: a, cwd: db/schema.sql}}", "is not a folder", ""),
    ("postgres", "{migrate: 'echo ${NOPE}'}", "NOPE is not set", '"$${NOPE}"'),
    ("postgres", "{seed: [{command: ['a', '${NOPE}']}]}", "NOPE is not set", '"$${NOPE}"'),
    ("postgres", "{seed: '${NOPE}/a.sql'}", "NOPE is not set", "give a default"),
    ("postgres", "{migrate: a, inputs: [b]}", "setting of services with process", "beside it: {command: …, inputs"),
    ("postgres", "{seed: }", "must be text, not nothing", ""),
    ("postgres", "{seed: [[a]]}", "must be a file or a command", "db/schema.sql"),
    ("postgres", "{seed: [5]}", "must be text", ""),
    ("postgres", "{seed: db/nope.sql}", '"db/nope.sql" does not exist', "looked for in"),
    ("postgres", "{seed: db/n*.sql}", 'no file matches "db/n*.sql"', "looked for in"),
    ("postgres", "{seed: db}", '"db" is a folder', "db/*.sql"),
    ("postgres", "{seed: npm run db:seed}", "there is no file", '{command: "npm run db:seed"}'),
    ("postgres", "{seed: [db/schema.sql, fixtures/*]}", '"fixtures/redis.json" is no file', ".sql and .csv"),
    ("postgres", "{seed: fixtures/redis.json}", '"fixtures/redis.json" is no file', ".sql and .csv"),
    ("postgres", "{seed: {commnd: a, command: b}}", 'unknown key "commnd"', 'did you mean "command"?'),
    ("postgres", "{seeds: db/schema.sql}", 'unknown key "seeds"', 'did you mean "seed"?'),
    ("postgres", "{migrations: a}", 'unknown key "migrations"', "use migrate"),
    ("postgres", "{reset: table}", '"table" is not allowed', 'did you mean "tables"?'),
    ("postgres", "{reset: transaction}", '"transaction" is not allowed', "auto, tables, template"),
    ("redis", "{seed: db/schema.sql}", '"db/schema.sql" is no file', ".json and .yaml and .yml"),
    ("redis", "{reset: auto}", "is a setting of kind postgres, and this service is redis", "remove reset"),
    ("websocket", "{seed: db/schema.sql}", "a websocket service is seeded by commands only", "command:"),
    ("x", "{image: a, seed: db/schema.sql}", "a generic service is seeded by commands only", "command:"),
    ("postgres", "{process: a, seed: db/schema.sql}", "with process is seeded by commands only", "command:"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings", "message", "hint"), WRONG)
def test_each_mistake_is_named_with_a_way_out(tree: Path, name: str, settings: str, message: str, hint: str) -> None:
    """Each mistake gives one problem that says what is wrong and what would be right."""
    found = problems(tree, f"services: {{{name}: {settings}}}")
    assert len(found) == 1, found
    assert message in found[0]["message"]
    assert hint in (found[0]["hint"] or "")


def test_a_mistake_has_its_place(tree: Path) -> None:
    """Line and column are those of the step."""
    found = problems(tree, "services:\n  postgres:\n    seed:\n      - db/schema.sql\n      - db/nope.sql\n")
    assert [(p["line"], p["column"], p["path"]) for p in found] == [(5, 9, "services.postgres.seed[1]")]


def test_the_files_are_those_that_can_be_put_in() -> None:
    """What a kind says of its files is what the part of it takes that puts them into the service."""
    taken = {name: found.SUFFIXES for name in kinds.names() if (found := kinds.seeding(name))}
    assert taken == {name: kinds.get(name).seeds for name in taken}


def test_other_services_take_commands(tree: Path) -> None:
    """Whatever its kind, a service can be migrated and seeded by the repository's own programs."""
    text = "{x: {image: a, seed: {command: b}}, y: {process: a, migrate: b}, redis: {seed: fixtures/redis.json}}"
    found = spec(tree, f"services: {text}").services
    assert [bool(found["x"].seed), bool(found["y"].migrate), paths(found["redis"])] == [
        True,
        True,
        ["fixtures/redis.json"],
    ]


def test_too_much_is_an_error(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be read for minutes is told beforehand, with the sizes."""
    monkeypatch.setattr(data_command, "MAX_BYTES", 20)
    monkeypatch.setattr(seed, "MAX_BYTES", 20)
    (inputs,) = problems(tree, "services: {postgres: {migrate: {command: a, inputs: ['migrations/**']}}}")
    assert "47b; at most 20b are read" in inputs["message"]
    (files,) = problems(tree, "services: {postgres: {seed: fixtures/*.csv}}")
    assert "28b, more than 20b" in files["message"]
    many = ", ".join(["db/schema.sql"] * 201)
    assert "more than 200 steps" in problems(tree, f"services: {{postgres: {{seed: [{many}]}}}}")[0]["message"]


# -- snapshots ---------------------------------------------------------------------------------------------------------

FIVE = 5 * 1024**3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a", (True, False, FIVE)),
        ("snapshots: true", (True, False, FIVE)),
        ("snapshots: false", (False, False, FIVE)),
        ("snapshots: '${S:-false}'", (False, False, FIVE)),
        ("snapshots: {}", (True, False, FIVE)),
        ("snapshots: {max_size: 1.5g}", (True, False, FIVE * 3 // 10)),
        ("snapshots: {unseeded: true}", (True, True, FIVE)),
        ("snapshots: {unseeded: '${S:-true}', max_size: 5g}", (True, True, FIVE)),
        ("snapshots: {unseeded: false}", (True, False, FIVE)),
    ],
)
def test_snapshots_may_be_bounded_or_off(tree: Path, text: str, expected: tuple[bool, bool, int]) -> None:
    """They are on, not of what is unseeded, and hold at most 5 GiB, where nothing else is said."""
    found = spec(tree, text)
    assert (found.snapshots, found.snapshots_unseeded, found.snapshots_max_bytes) == expected


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("snapshots: off", "must be true or false", ""),
        ("snapshots: {maxsize: 5g}", "unknown key", 'did you mean "max_size"?'),
        ("snapshots: {enabled: false}", "unknown key", "snapshots: false"),
        ("snapshots: {unseed: true}", "unknown key", 'did you mean "unseeded"?'),
        ("snapshots: {unseeded: sometimes}", "must be true or false", ""),
        ("snapshots: {max_size: 5}", "must be text", '"5"'),
        ("snapshots: {max_size: big}", "is not a size", ""),
        ("snapshots: {max_size: 1m}", "out of range", "at least 16m"),
        ("snapshot: false", 'unknown key "snapshot"', 'did you mean "snapshots"?'),
    ],
)
def test_mistakes_of_snapshots(tree: Path, text: str, message: str, hint: str) -> None:
    """Each says what would be right."""
    (found,) = problems(tree, text)
    assert message in found["message"]
    assert hint in (found["hint"] or "")


# -- what tells that something changed ---------------------------------------------------------------------------------

TEXT = """
services:
  postgres:
    migrate: {command: a, inputs: ["migrations/**"], cwd: server}
    seed: [db/*.sql, {command: b, inputs: [server/seed.ts]}]
"""


def key(folder: Path) -> str:
    """The key of the data that a project's file asks for."""
    return data_key.key(data_key.inputs(spec(folder, TEXT), ["postgres"], {"postgres": "sha256:aa"}))


def test_two_trees_with_the_same_files_have_one_key(tree: Path, tmp_path: Path) -> None:
    """Not folders, times and modes count but contents; also where the tree is reached through a link."""
    other = project(tmp_path / "deep" / "two")
    os.utime(other / "db/schema.sql", (1, 1))
    (other / "migrations/0001_a.sql").chmod(0o600)
    (tmp_path / "link").symlink_to(other)
    assert key(tree) == key(other) == key(tmp_path / "link")


CHANGES: list[tuple[Callable[[Path], object], list[str]]] = [
    (lambda tree: (tree / "db/schema.sql").write_text("DB/SCHEMA.SQL"), ["db/schema.sql"]),
    (lambda tree: (tree / "migrations/0003.sql").write_text(""), ["migrations/0003.sql"]),
    (lambda tree: (tree / "migrations/0001_a.sql").unlink(), ["migrations/0001_a.sql"]),
    (lambda tree: (tree / "server/seed.ts").rename(tree / "server/other.ts"), ["server/seed.ts"]),
    (lambda tree: (tree / "db/schema.sql").unlink(), ["db/schema.sql"]),
    (lambda tree: os.utime(tree / "db/schema.sql", (1, 1)), []),
    (lambda tree: (tree / "server/other.ts").write_text("new"), []),
]


@pytest.mark.parametrize(("change", "expected"), CHANGES)
def test_what_changed_meanwhile_is_named(tree: Path, change: Callable[[Path], object], expected: list[str]) -> None:
    """Who has prepared data can see whether the files are still those it was to be made of."""
    found = spec(tree, TEXT)
    change(tree)
    assert changed_since(found, project_root(found, tree), {}) == expected


def test_a_configuration_given_as_a_value_has_a_root_too(tree: Path) -> None:
    """Its paths count from the repository that the folder is in."""
    found = given({"services": {"postgres": {"seed": "schema.sql"}}}, tree / "db", {})
    assert paths(found.services["postgres"]) == ["db/schema.sql"]
    assert project_root(found, tree / "db") == tree
