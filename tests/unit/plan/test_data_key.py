"""The key of prepared data: what goes into it, what does not, and what people are told has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from envctl.model import DataCommand, EnvironmentSpec, ProcessSpec, SeedFile, ServiceSpec, VolumeSpec
from envctl.plan.data_key import differing, inputs, key, wants

MADE_WITH = {"postgres": "sha256:aa", "redis": "sha256:bb"}


def migration(root: str = "/src/a", command: str = "alembic upgrade head") -> DataCommand:
    """A migration in a working tree at `root`."""
    files = (("migrations/0001_a.sql", "11"), ("migrations/0002_b.sql", "22"))
    return DataCommand(("/bin/sh", "-c", command), f"{root}/server", ("migrations/**",), files, "server")


def spec(root: str = "/src/a", **changes: object) -> EnvironmentSpec:
    """Postgres with a migration and two seeds, and Redis without; `changes` are Postgres's."""
    seed = (SeedFile("db/schema.sql", "33"), SeedFile("fixtures/a.csv", "44"), DataCommand(("npm", "run"), root))
    postgres = ServiceSpec(
        "postgres", "postgres", image="postgres:18", migrate=migration(root), seed=seed, options={"database": "app"}
    )
    services = {"postgres": replace(postgres, **changes), "redis": ServiceSpec("redis", "redis", image="redis:8")}  # type: ignore[arg-type]  # a test gives what it likes
    return EnvironmentSpec(services, source=f"{root}/envctl.yaml")


def named(environment: EnvironmentSpec, **made_with: str) -> dict[str, str]:
    """What shapes the data of its services."""
    return inputs(environment, ["postgres", "redis"], {**MADE_WITH, **made_with})


def test_everything_that_shapes_the_data_has_a_name() -> None:
    """The names are those people know: services, files from the project's root, commands by their number."""
    assert list(named(spec())) == [
        "recipe",
        "postgres image",
        "postgres settings",
        "postgres reset strategy",
        "postgres migrate command",
        "migrations/0001_a.sql",
        "migrations/0002_b.sql",
        "db/schema.sql",
        "fixtures/a.csv",
        "postgres seed command 1",
        "postgres seed order",
        "redis image",
        "redis settings",
        "redis reset strategy",
    ]


def test_the_key_is_the_same_in_every_working_tree() -> None:
    """Nothing of the folder, and nothing that shapes no data, is in it."""
    one = key(named(spec("/src/a")))
    assert len(one) == 32
    assert set(one) <= set("0123456789abcdef")
    assert key(named(spec("/home/b/deep/er"))) == one
    assert key(named(replace(spec(), project="x", ttl_s=5.0, snapshots_max_bytes=1))) == one
    assert key(named(spec(memory_bytes=5, ready=None))) == one
    assert key(dict(reversed(named(spec()).items()))) == one


SCHEMA, FIXTURE, COMMAND = SeedFile("db/schema.sql", "33"), *spec().services["postgres"].seed[1:]
CHANGES: list[tuple[dict[str, object], list[str]]] = [
    ({"image": "postgres:17"}, []),  # what is made with it counts, not how it is called
    ({"seed": (replace(SCHEMA, digest="x"), FIXTURE, COMMAND)}, ["db/schema.sql changed"]),
    ({"seed": (FIXTURE, SCHEMA, COMMAND)}, ["postgres seed order changed"]),
    ({"seed": (SCHEMA, FIXTURE, FIXTURE, COMMAND)}, ["postgres seed order changed"]),
    ({"seed": (SCHEMA, SeedFile("fixtures/b.csv", "5"), FIXTURE, COMMAND)}, ["fixtures/b.csv is new"]),
    ({"seed": (SCHEMA, COMMAND)}, ["fixtures/a.csv is gone"]),
    (
        {"seed": (SCHEMA, FIXTURE, DataCommand(("npm", "run"), "/src/a/x", folder="x"))},
        ["postgres seed command 1 changed"],
    ),
    ({"migrate": migration(command="other")}, ["postgres migrate command changed"]),
    ({"migrate": replace(migration(), inputs=("**",))}, []),  # the files that matched count
    (
        {"migrate": replace(migration(), digests=(("migrations/0001_a.sql", "12"),))},
        ["migrations/0001_a.sql changed", "migrations/0002_b.sql is gone"],
    ),
    ({"options": {"database": "shop"}}, ["postgres settings changed"]),
    ({"command": ("-c", "jit=off")}, ["postgres settings changed"]),
    ({"environment": {"LANG": "C"}}, ["postgres settings changed"]),
    ({"volumes": (VolumeSpec("/docker-entrypoint-initdb.d/a.sql", file="a.sql", content="select 1"),)},
     ["postgres settings changed"]),
    ({"reset": "template"}, ["postgres reset strategy changed"]),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), CHANGES)
def test_a_change_makes_another_key_and_is_named(changes: dict[str, object], words: list[str]) -> None:
    """What shapes the data changes the key, and only that; people are told in a few words."""
    before, after = named(spec()), named(spec(**changes))  # type: ignore[arg-type]  # a test gives what it likes
    assert differing(before, after) == words
    assert (key(before) == key(after)) == (not words)


def test_other_things_that_count() -> None:
    """What runs a service, the variables that commands see, and envctl's own way of preparing."""
    before = named(spec())
    assert differing(before, named(spec(), postgres="sha256:cc")) == ["postgres image changed"]
    assert differing(before, named(replace(spec(), export={"SEED": "5"}))) == ["export is new"]
    assert differing({**before, "recipe": "0"}, before) == ["this version of envctl prepares data in another way"]
    bare = spec(seed=(), migrate=None)
    assert key(named(replace(bare, export={"SEED": "5"}))) == key(named(bare))


def test_few_words_for_many_changes() -> None:
    """Nobody reads a list of a hundred files."""
    many = tuple(SeedFile(f"fixtures/{number}.csv", "x") for number in range(100))
    words = differing(named(spec(seed=())), named(spec(seed=many)))
    assert words[:2] == ["fixtures/0.csv is new", "fixtures/1.csv is new"]
    assert (len(words), words[-1]) == (6, "95 more")


def test_a_file_is_never_taken_for_something_else() -> None:
    """A file that is called as an input of another sort is beside it in the list."""
    odd = (SeedFile("recipe", "1"), SeedFile("postgres image", "2"), SeedFile("postgres seed order", "3"))
    found = named(spec(seed=odd))
    assert (found["recipe"], found["postgres image"]) == (named(spec())["recipe"], "sha256:aa")
    assert {"./recipe", "./postgres image", "./postgres seed order"} <= found.keys()
    assert differing(found, {**found, "./postgres seed order": "x"}) == ["./postgres seed order changed"]


def _with(services: EnvironmentSpec, **more: ServiceSpec) -> EnvironmentSpec:
    return replace(services, services={**services.services, **more})


PERSISTENT = ServiceSpec("cache", "redis", persist=True)
WANTED: list[tuple[Callable[[], EnvironmentSpec], list[str]]] = [
    (lambda: spec(), ["postgres", "redis"]),
    (lambda: spec(migrate=None), ["postgres", "redis"]),
    (lambda: spec(seed=()), ["postgres", "redis"]),
    (lambda: spec(seed=(), migrate=None), []),
    (lambda: replace(spec(), snapshots=False), []),
    (lambda: replace(spec(), snapshots_unseeded=True), ["postgres", "redis"]),
    (lambda: replace(spec(seed=(), migrate=None), snapshots_unseeded=True), ["postgres"]),
    (lambda: replace(spec(seed=(), migrate=None, persist=True), snapshots_unseeded=True), []),
    (lambda: replace(spec(persist=True), snapshots_unseeded=True), []),
    (lambda: spec(persist=True), []),
    (lambda: spec(process=ProcessSpec(("a",), "/src/a")), []),
    (lambda: _with(spec(), cache=PERSISTENT), ["postgres", "redis"]),
    (lambda: _with(spec(), cache=replace(PERSISTENT, seed=(SCHEMA,))), []),
    (lambda: _with(spec(), x=ServiceSpec("x", "generic", image="x")), ["postgres", "redis"]),
    (lambda: _with(spec(), x=ServiceSpec("x", "generic", image="x", seed=(COMMAND,))), []),
]


@pytest.mark.parametrize(("environment", "services"), WANTED)
def test_what_is_prepared(environment: Callable[[], EnvironmentSpec], services: list[str]) -> None:
    """All services that hold data, where one is shaped and all that are shaped can be captured; else none.

    Where nothing is shaped and what is unseeded is kept too, those whose first start takes long.
    """
    assert wants(environment()) == services
