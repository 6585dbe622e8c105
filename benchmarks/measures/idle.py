"""What an environment without containers costs while nobody uses it, and how many come up at the same moment."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import footprint
from benchmarks.crowd import Command, at_once, ups
from benchmarks.figures import Budget, Row, series
from benchmarks.options import Options
from benchmarks.process import BenchmarkError
from benchmarks.sandbox import Sandbox

_SETTLE_S = 2.0
_MEMORY = "sum over the processes, shared pages divided among their users (PSS)"
_CPU = "user and system time"
_WHOLE = "in all"


@dataclass(frozen=True, slots=True)
class Idle:
    """One environment at rest, by part: its services, their keeper, and in all.

    Attributes:
        mib: Memory.
        ms_per_s: Milliseconds of a processor in each second.
    """

    mib: Mapping[str, float]
    ms_per_s: Mapping[str, float]


def measure_one(place: Sandbox, options: Options) -> list[Row]:
    """One environment, brought up anew for each figure."""
    place.prepare_embedded()
    project = place.project("embedded-idle", engine="embedded")
    seen: list[Idle] = []
    for _ in range(options.slow_runs):
        project.up().checked()
        seen += _watch(place, options)
        project.down().checked()
    parts = list(seen[0].mib)
    label = "envctl, idle"
    memory = [
        Row(
            "embedded-idle", f"embedded: idle memory, {part}", "MiB", series(label, [one.mib[part] for one in seen]),
            note=_MEMORY if part == _WHOLE else "",
        )
        for part in parts
    ]  # fmt: skip
    processor = [
        Row(
            "embedded-idle", f"embedded: idle CPU, {part}", "ms/s", series(label, [one.ms_per_s[part] for one in seen]),
            note=f"{_CPU} over {options.idle_s:g} s" if part == _WHOLE else "",
        )
        for part in parts
    ]  # fmt: skip
    return [*memory, *processor]


def measure_many(place: Sandbox, options: Options) -> list[Row]:
    """Many come up at the same moment, rest, and are removed by one `down --all`. Nothing is retried."""
    place.prepare_embedded()
    number = options.embedded_at_once
    projects = [place.project(f"embedded-{index}", engine="embedded") for index in range(number)]
    crowd = at_once(ups(projects))
    seen = _watch(place, options)
    down = projects[0].argv("down", "--all")
    gone = at_once([Command(down, place.folder, place.environ)])
    return [
        Row(
            "embedded-parallel", f"embedded: {number} up at once: wall", "s", series("envctl up", [crowd.wall_s]),
            budget=Budget(all_succeed=True), failed=crowd.failed, note=crowd.reasons,
        ),
        *_per_member(number, crowd.seconds, seen, options),
        Row(
            "embedded-parallel", f"embedded: down --all of {number}", "s", series("envctl down --all", [gone.wall_s]),
            budget=Budget(all_succeed=True), failed=gone.failed or len(_parts(place)), note=gone.reasons,
        ),
    ]  # fmt: skip


def _per_member(number: int, seconds: list[float], seen: list[Idle], options: Options) -> Iterable[Row]:
    family, label = "embedded-parallel", "envctl, idle"
    if seconds:
        yield Row(family, f"embedded: {number} up at once: each", "s", series("envctl up", seconds))
    if not seen:
        return
    mib, ms = [one.mib[_WHOLE] for one in seen], [one.ms_per_s[_WHOLE] for one in seen]
    what = f"embedded: {len(seen)} environments, idle"
    yield Row(family, f"{what}: memory of all", "MiB", series(label, [sum(mib)]), note=_MEMORY)
    yield Row(family, f"{what}: memory of each", "MiB", series(label, mib))
    yield Row(family, f"{what}: CPU of all", "ms/s", series(label, [sum(ms)]), note=f"{_CPU} over {options.idle_s:g} s")
    yield Row(family, f"{what}: CPU of each", "ms/s", series(label, ms))


def _watch(place: Sandbox, options: Options) -> list[Idle]:
    """Every environment of the sandbox: left alone for a while, then watched for `idle_s`."""
    stacks = _parts(place)
    time.sleep(_SETTLE_S)
    before = [{part: _cpu_ms(pids) for part, pids in parts.items()} for parts in stacks]
    began_s = time.monotonic()
    time.sleep(options.idle_s)
    after = [{part: _cpu_ms(pids) for part, pids in parts.items()} for parts in stacks]
    passed_s = time.monotonic() - began_s
    found = []
    for parts, then, now in zip(stacks, before, after, strict=True):
        used = {part: (now[part] - then[part]) / passed_s for part in parts}
        memory = {part: sum(footprint.pss_mib(pid) for pid in pids) for part, pids in parts.items()}
        found.append(
            Idle({**memory, _WHOLE: sum(memory.values())}, {**used, _WHOLE: sum(used.values())}),
        )
    return found


def _parts(place: Sandbox) -> list[dict[str, list[int]]]:
    """The processes of each environment, by service; `keeper` has those that pass the output on."""
    return [parts for folder in sorted((place.state / "stacks").glob("*")) if (parts := _parts_of(folder))]


def _parts_of(stack: Path) -> dict[str, list[int]]:
    parts: dict[str, list[int]] = {}
    keepers: set[int] = set()
    for file in sorted(stack.glob("*/process.json")):
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
            parts[file.parent.name] = list(footprint.tree(known["process"]["pid"]))
            keepers.add(known["keeper"]["pid"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BenchmarkError(f"{file} does not tell which process it is about: {error}") from error
    return {**parts, "keeper": sorted(keepers)} if parts else {}


def _cpu_ms(pids: Iterable[int]) -> float:
    return sum(footprint.cpu_ms(pid) for pid in pids)
