"""A database of its own for each test: how long a test waits for it, beside the methods of pgtestdb and IntegreSQL.

One Postgres without containers serves all. Workers are processes; each test connects, inserts a row and reads it back.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks import schema
from benchmarks.cycles import NO_BUDGET
from benchmarks.figures import Budget, Row, Series, series
from benchmarks.options import Options
from benchmarks.process import BenchmarkError, Running, running
from benchmarks.reach import servers
from benchmarks.sandbox import Sandbox
from benchmarks.tools import PEER
from envctl.kinds.postgres.baseline import baseline_name
from envctl.kinds.postgres.data import connection_to
from envctl.model import Connection

_FAMILY = "pool"
_OURS, _PGTESTDB, _INTEGRESQL = "envctl", "pgtestdb", "integresql"
_LABELS = {
    _OURS: "envctl",
    _PGTESTDB: "CREATE DATABASE … TEMPLATE for each test, as pgtestdb",
    _INTEGRESQL: "one server that keeps copies ready, as IntegreSQL",
}
_ROOT = Path(__file__).parents[2]
_TABLES, _ROWS = 40, 25
_MANY = 8
_PAUSES_S = (0.0, 0.05)
_TEMPLATE = "peer_template"
_NOTE = f"databases of {_TABLES} tables; the first hand-out of each worker, which waits for a copy, is not among these"


def measure(place: Sandbox, options: Options) -> list[Row]:
    """Each method in turn: with one worker and with many, with tests that do next to nothing and with longer ones."""
    script = schema.tables(_TABLES, _ROWS)
    with servers(place, _FAMILY, "{postgres: {seed: schema.sql}}", {"schema.sql": script}) as (_, reach):
        server = reach["postgres"]
        schema.create(server, _TEMPLATE, script)
        rows: list[Row] = []
        for workers in (1, _MANY):
            for pause_s in _PAUSES_S:
                rows += _rows(_Trial(place, server, workers, pause_s), options)
        return rows


class _Trial:
    """So many workers, each of which is handed one database after another."""

    def __init__(self, place: Sandbox, server: Connection, workers: int, pause_s: float) -> None:
        self.workers, self.pause_s = workers, pause_s
        self._place, self._server = place, server
        self.figures: dict[str, dict[str, list[float]]] = {}

    def run(self, method: str, number: int) -> None:
        """One round of a method, `number` hand-outs for each worker."""
        with ExitStack() as held:
            known: dict[str, object] = {"connection": asdict(self._server), "template": _TEMPLATE}
            if method == _OURS:
                known["template"] = baseline_name(self._server.database or "")
            if method == _INTEGRESQL:
                known["port"] = held.enter_context(self._pool_server())
            environ = {**self._place.environ, "HAND_OUT": json.dumps(known)}
            started = [held.enter_context(self._worker(method, one, number, environ)) for one in range(self.workers)]
            for child in started:
                if not child.await_output(120.0):
                    raise BenchmarkError(f"no database was handed out:\n{child.finish(10.0).err}")
            for child in started:
                assert child.process.stdin
                child.process.stdin.close()
            for child in started:
                self._take_down(method, child.finish(300.0).checked().out)

    def _worker(
        self, method: str, one: int, number: int, environ: Mapping[str, str]
    ) -> AbstractContextManager[Running]:
        argv = [sys.executable, "-m", "benchmarks.hand_out", method, f"own{one}", str(number), str(self.pause_s)]
        return running(argv, _ROOT, environ, talk=True)

    @contextmanager
    def _pool_server(self) -> Iterator[int]:
        """Its port. It has two databases for each worker, and no fewer than by default: four for each processor."""
        url = connection_to(self._server, "postgres").url
        environ = {**self._place.environ, "SERVER_URL": url, "TEMPLATE": _TEMPLATE}
        size = max(2 * self.workers, 4 * (os.cpu_count() or 1))
        argv = [sys.executable, str(PEER / "pool_server.py"), str(size)]
        with running(argv, self._place.folder, environ, talk=True) as child:
            yield int(child.answer(120.0))
            assert child.process.stdin
            child.process.stdin.close()
            child.finish(60.0).checked()

    def _take_down(self, method: str, out: str) -> None:
        for phase, values in json.loads(out.splitlines()[-1]).items():
            self.figures.setdefault(method, {}).setdefault(phase, []).extend(values)


def _rows(trial: _Trial, options: Options) -> list[Row]:
    methods = list(_LABELS)
    number = options.hand_outs if trial.workers == 1 else max(options.hand_outs * 2 // 5, 1)
    for turn in range(options.slow_runs):
        first = turn % len(methods)
        for method in (*methods[first:], *methods[:first]):
            trial.run(method, number)
    who = f"{trial.workers} worker{'s' if trial.workers > 1 else ''}"
    what = f"{who}, {'tests that take 50 ms' if trial.pause_s else 'tests without a pause'}"
    return [row for peer in (_PGTESTDB, _INTEGRESQL) for row in _beside(trial, what, peer)]


def _beside(trial: _Trial, what: str, peer: str) -> Iterator[Row]:
    first_rows = peer == _PGTESTDB and not trial.pause_s
    number = len(trial.figures[_OURS]["take"])
    note = _NOTE if first_rows and trial.workers == 1 else ""
    yield _row(trial, peer, f"{what}: hand-out", "take", note=note)
    yield _row(trial, peer, f"{what}: hand-out, 99 % of {number} within", "take", tail=True)
    if not trial.pause_s:
        yield _row(trial, peer, f"{what}: the whole test", "whole")
    if first_rows:
        yield _row(trial, peer, f"{what}: the first hand-out of each", "first")


def _row(trial: _Trial, peer: str, what: str, phase: str, *, tail: bool = False, note: str = "") -> Row:
    ours, theirs = (_series(method, trial.figures[method][phase], tail=tail) for method in (_OURS, peer))
    budget = Budget(absolute=2.0) if phase == "take" and not tail else NO_BUDGET
    return Row(_FAMILY, what, "ms", ours, theirs, budget, note=note).in_ms()


def _series(method: str, values: list[float], *, tail: bool) -> Series:
    """All figures, or the one that 99 of 100 do not go beyond."""
    chosen = [sorted(values)[math.ceil(len(values) * 0.99) - 1]] if tail else values
    return series(_LABELS[method], chosen)
