"""One module per family of measures; each has `measure(place, options)`, which gives rows for the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.figures import Row
from benchmarks.measures import (
    concurrency,
    containers,
    embedded,
    idle,
    imports,
    latency,
    lifecycle,
    memory,
    plugin,
    pool,
    prepared,
    queries,
    ready,
    reclaim,
    redisreset,
    reset,
    run,
    ten,
    workers,
)
from benchmarks.options import Options
from benchmarks.sandbox import Sandbox

WITHOUT_DOCKER: Mapping[str, Callable[[Sandbox, Options], list[Row]]] = {
    "embedded": embedded.measure,
    "embedded-idle": idle.measure_one,
    "embedded-parallel": idle.measure_many,
    "imports": imports.measure,
    "run": run.measure,
    "plugin": plugin.measure,
    "workers": workers.measure,
    "reclaim": reclaim.measure,
    "ten": ten.measure,
    "prepared": prepared.measure,
    "reset": reset.measure,
    "pool": pool.measure,
    "redisreset": redisreset.measure,
}
"""What can be measured where there is no Docker, too; peers that need it are left out there."""

FAMILIES: Mapping[str, Callable[[Sandbox, Options], list[Row]]] = {
    "lifecycle": lifecycle.measure,
    "ready": ready.measure,
    "queries": queries.measure,
    "latency": latency.measure,
    "testcontainers": containers.measure,
    "memory": memory.measure,
    "concurrency": concurrency.measure,
    **WITHOUT_DOCKER,
}
