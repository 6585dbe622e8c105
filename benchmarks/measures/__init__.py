"""One module per family of measures; each has `measure(place, options)`, which gives rows for the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.figures import Row
from benchmarks.measures import concurrency, containers, latency, lifecycle, memory, queries, ready
from benchmarks.options import Options
from benchmarks.sandbox import Sandbox

FAMILIES: Mapping[str, Callable[[Sandbox, Options], list[Row]]] = {
    "lifecycle": lifecycle.measure,
    "ready": ready.measure,
    "queries": queries.measure,
    "latency": latency.measure,
    "testcontainers": containers.measure,
    "memory": memory.measure,
    "concurrency": concurrency.measure,
}
