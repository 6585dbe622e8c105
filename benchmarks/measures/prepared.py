"""`up` from data that was prepared once, beside Docker Compose alone, and with the same migrations and seeds after it.

The project is examples/scheduler without its WebSocket server: 40 tables, 1,200 rows, and keys of Redis. Another one
has the three services of the default, into which nothing is put.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import redis

from benchmarks import schema
from benchmarks.cycles import Cycle, Found, beside, compose, row
from benchmarks.figures import Budget, Row, contest
from benchmarks.options import Options
from benchmarks.process import BenchmarkError, run
from benchmarks.reach import connections, forget_prepared
from benchmarks.sandbox import Sandbox
from benchmarks.tools import PEER, ComposePeer, EnvctlProject
from envctl.model import Connection

_FAMILY = "prepared"
_ALONE, _DOWN = "docker compose up -d --wait", "docker compose down -v -t 0"
_WHOLE = f"{_ALONE}, then the same migrations and seeds"
_SCHEDULER = Path(__file__).parents[2] / "examples" / "scheduler"
_SERVICES = ("postgres", "redis")
_CONFIG = f"""
services:
  postgres:
    migrate:
      command: "'{sys.executable}' db/migrate.py"
      inputs: [db/migrate.py, "db/migrations/*.sql"]
    seed: [fixtures/*.sql, fixtures/*.csv, fixtures/after/*.sql]
  redis:
    seed: fixtures/redis.json
"""
_UNSEEDED = "snapshots: {unseeded: true}\nservices: {postgres: {}, redis: {}, websocket: {}}\n"
_TABLES = """
SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'envctl') ORDER BY 1
"""
_FIRST_NOTE = "the first one: it migrates, seeds, keeps the data, and starts from it"


def measure(place: Sandbox, options: Options) -> list[Row]:
    """Later ones first, then the first ones, each of which makes the data anew."""
    place.prepare_embedded()
    projects = {engine: _project(place, engine) for engine in place.engines}
    peer = place.peer(_FAMILY) if place.docker else None
    _check_the_same(projects, peer)
    theirs: dict[str, Cycle] = {_ALONE: partial(_compose, peer)} if peer else {}
    later = contest(options.runs, {**{name: partial(_later, one) for name, one in projects.items()}, **theirs})
    first = contest(options.slow_runs, {**{name: partial(_first, one) for name, one in projects.items()}, **theirs})
    unseeded = [_unseeded(place, options)] if place.docker else []
    return [*(one for engine in projects for one in _rows(engine, later, first)), *unseeded]


def _unseeded(place: Sandbox, options: Options) -> Row:
    """What the first start of a database costs, and no more when that was kept."""
    project, peer = place.project(f"{_FAMILY}-unseeded", engine="compose"), place.peer(f"{_FAMILY}-unseeded")
    (project.root / "envctl.yaml").write_text(_UNSEEDED, encoding="utf-8")
    _later(project)
    found = contest(options.runs, {"compose": partial(_later, project), _ALONE: compose(peer)})
    told = row(_FAMILY, "compose: up, three services, unseeded, from prepared data", "ms")
    return beside(found, "up", "compose", _ALONE, told)


def _project(place: Sandbox, engine: str) -> EnvctlProject:
    project = place.project(f"{_FAMILY}-{engine}", engine=engine)
    for folder in ("db", "fixtures"):
        shutil.copytree(_SCHEDULER / folder, project.root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (project.root / "envctl.yaml").write_text(_CONFIG, encoding="utf-8")
    return project


def _rows(engine: str, later: Found, first: Found) -> list[Row]:
    def told(found: Found, phase: str, peer: str, bare: Row) -> Row:
        return beside(found, phase, engine, peer, bare)

    later, first = _named(later), _named(first)
    what = f"{engine}: up, 40 tables migrated and seeded"
    return [
        told(later, "up", _ALONE, row(_FAMILY, f"{what}, from prepared data", "ms", Budget(ratio=0.45))),
        told(later, "up", _WHOLE, row(_FAMILY, f"{what}, from prepared data", "ms")),
        told(first, "up", _WHOLE, row(_FAMILY, f"{what}, the first time", "ms", note=_FIRST_NOTE)),
        told(later, "down", _DOWN, row(_FAMILY, f"{engine}: down, the same", "ms")),
    ]


def _named(found: Found) -> Found:
    """The peer's phases under the names of the commands they stand for."""
    if _ALONE not in found:
        return found
    phases = found[_ALONE]
    named = {
        _ALONE: {"up": phases["up"]},
        _WHOLE: {"up": replace(phases["whole"], label=_WHOLE)},
        _DOWN: {"down": replace(phases["down"], label=_DOWN)},
    }
    return {**found, **named}


def _later(project: EnvctlProject) -> Mapping[str, float]:
    return {"up": project.up().checked().seconds, "down": project.down().checked().seconds}


def _first(project: EnvctlProject) -> Mapping[str, float]:
    forget_prepared(project.environ, project.root.name)
    return _later(project)


def _compose(peer: ComposePeer) -> Mapping[str, float]:
    up = peer.up(*_SERVICES).checked().seconds
    whole = up + _filled(peer)
    return {"up": up, "whole": whole, "down": peer.down().checked().seconds}


def _filled(peer: ComposePeer) -> float:
    """Seconds of the migrations and the seeds; asking for the ports is not counted, a user may have chosen them."""
    postgres, redis = (_reach(peer, name) for name in _SERVICES)
    environ = {**peer.environ, "DATABASE_URL": postgres.url, "REDIS_URL": redis.url}
    programs = (_SCHEDULER / "db" / "migrate.py", PEER / "seed_scheduler.py")
    return sum(run([sys.executable, str(one)], _SCHEDULER, environ).checked().seconds for one in programs)


def _reach(peer: ComposePeer, service: str) -> Connection:
    inside = {"postgres": "5432", "redis": "6379"}[service]
    port = int(peer.run("port", service, inside).checked().out.strip().rpartition(":")[2])
    word = peer.environ[f"{service.upper()}_PASSWORD"]
    whose = {
        "postgres": f"postgresql://app:{word}@127.0.0.1:{port}/app",
        "redis": f"redis://:{word}@127.0.0.1:{port}/0",
    }
    return Connection(service, service, "127.0.0.1", port, whose[service])


def _check_the_same(projects: Mapping[str, EnvctlProject], peer: ComposePeer | None) -> None:
    """Every one has the same tables, rows and keys; the prepared data is there afterwards."""
    found = {}
    for engine, project in projects.items():
        project.up().checked()
        reach = connections(project)
        found[engine] = _content(reach["postgres"], reach["redis"])
        project.down().checked()
    if peer:
        peer.up(*_SERVICES).checked()
        _filled(peer)
        found[_ALONE] = _content(*(_reach(peer, name) for name in _SERVICES))
        peer.down().checked()
    if len(set(found.values())) != 1:
        raise BenchmarkError(f"not all hold the same: {found}")


def _content(postgres: Connection, store: Connection) -> tuple[object, ...]:
    """The keys, and each table with its number of rows."""
    with redis.Redis.from_url(store.url) as client:
        keys = sorted(client.keys())
    with schema.session(postgres) as link:
        tables = [str(name) for (name,) in link.execute(_TABLES.encode())]
        counted = [link.execute(f"SELECT count(*) FROM {name}".encode()).fetchone() for name in tables]
    return (tuple(keys), tuple(zip(tables, counted, strict=True)))
