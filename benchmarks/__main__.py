"""`python -m benchmarks`: measures, prints the table, writes JSON into benchmarks/results/."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks import machine
from benchmarks.figures import Row
from benchmarks.measures import FAMILIES, WITHOUT_DOCKER
from benchmarks.options import QUICK, Options
from benchmarks.page import RESULTS
from benchmarks.process import BenchmarkError
from benchmarks.sandbox import Sandbox, sandbox
from benchmarks.table import as_json, as_text


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 where everything could be measured, budgets missed or not; `--strict` makes a miss 1."""
    asked = _parse(arguments)
    options = QUICK if asked.quick else Options(asked.runs, tuple(asked.at_once), asked.embedded_at_once)
    rows: list[Row] = []
    facts: dict[str, Any] = {}
    code = 0
    try:
        with sandbox() as place:
            facts |= machine.facts(place.environ)
            _tell("preparing")
            place.prepare()
            possible = FAMILIES if place.docker else WITHOUT_DOCKER
            facts["skipped"] = [family for family in asked.only or FAMILIES if family not in possible]
            for family in facts["skipped"]:
                _tell(f"{family}: skipped, no Docker Engine with Compose v2 answers here")
            code = _measure(place, [family for family in asked.only or FAMILIES if family in possible], options, rows)
    except KeyboardInterrupt:
        _tell("interrupted; everything was removed")
        code = 130
    except BenchmarkError as error:
        _tell(str(error))
        code = 1
    if rows:
        print(as_text(rows))
        _write(rows, {**facts, "complete": code == 0, "runs": options.runs})
    return code or int(asked.strict and any(row.verdict == "miss" for row in rows))


def _measure(place: Sandbox, families: Sequence[str], options: Options, rows: list[Row]) -> int:
    """Add to `rows` as it goes, so that an interrupted run shows what it has; a failure spares the others."""
    code = 0
    for family in families:
        began_s = time.monotonic()
        try:
            rows += FAMILIES[family](place, options)
        except BenchmarkError as error:
            code = 1
            _tell(f"{family}: could not be measured: {error}")
        _tell(f"{family}: {time.monotonic() - began_s:.0f} s")
    return code


def _write(rows: Sequence[Row], facts: dict[str, object]) -> None:
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"
    file.write_text(json.dumps(as_json(rows, facts), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _tell(f"written: {file}")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="figures per command (default 5; quick commands get more)")
    parser.add_argument(
        "--at-once", type=int, nargs="*", default=[10, 25, 40], metavar="N", help="environments brought up at once"
    )
    parser.add_argument(
        "--embedded-at-once", type=int, default=30, metavar="N", help="the same on the embedded engine (default 30)"
    )
    parser.add_argument("--only", nargs="+", choices=list(FAMILIES), help="only these families")
    parser.add_argument("--quick", action="store_true", help="one figure each, three at once: does it work at all")
    parser.add_argument("--strict", action="store_true", help="exit code 1 where a budget is missed")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
