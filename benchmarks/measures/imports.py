"""What `envctl up --engine embedded` imports, how long that takes, and who asked for it.

A row's own figures are milliseconds with all that a module imports in turn, its peer's those of the module alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.figures import Row, series
from benchmarks.options import Options
from benchmarks.process import Line, run
from benchmarks.sandbox import Sandbox
from benchmarks.tools import EnvctlProject

FAMILY = "imports"
_LINE = re.compile(r"import time: +(\d+) \| +(\d+) \| +([\w.]+)")
_TRACE = Path(__file__).parent.parent / "import_trace.py"
_LEAST_MS, _MOST_ROWS = 1.0, 25
_LIMIT_S = 120.0
_JYTHON = "org"  # org.python.core: `copy` asks whether it runs there

Times = Mapping[str, tuple[float, float]]
"""Module -> milliseconds alone and with what it imports."""


def measure(place: Sandbox, options: Options) -> list[Row]:
    """Groups of modules first, then the modules that take longest; the first run, for the reasons, is not timed."""
    place.prepare_embedded()
    project = place.project("imports", engine="embedded")
    reasons = _reasons(project, place.folder / "imports.txt")
    runs = [_times(project) for _ in range(options.runs)]
    own = {name for times in runs for name in times if name in reasons}
    slowest = sorted(own, key=lambda name: -median(_of(runs, name, 1)))[:_MOST_ROWS]
    modules = [
        Row(
            FAMILY, name, "ms", series("with its own imports", _of(runs, name, 1)), series("alone", _of(runs, name, 0)),
            note=reasons[name],
        )
        for name in slowest
        if median(_of(runs, name, 1)) >= _LEAST_MS
    ]  # fmt: skip
    return [*_groups(runs, reasons), *modules]


def _groups(runs: Sequence[Times], reasons: Mapping[str, str]) -> list[Row]:
    members: dict[str, set[str]] = {}
    for name in {name for times in runs for name in times}:
        members.setdefault(_group(name, reasons), set()).add(name)
    sums = {
        group: [sum(times.get(name, (0.0, 0.0))[0] for name in names) for times in runs]
        for group, names in members.items()
    }
    return [
        Row(FAMILY, group, "ms", series("all together", sums[group]), note=f"{len(members[group])} modules")
        for group in sorted(sums, key=lambda group: -median(sums[group]))
    ]


def _group(name: str, reasons: Mapping[str, str]) -> str:
    package = name.partition(".")[0]
    if name not in reasons:
        return "*the start of Python*"
    standard = package in sys.stdlib_module_names or package == _JYTHON
    return "*the standard library*" if standard else f"*{package}*"


def _of(runs: Sequence[Times], name: str, which: int) -> list[float]:
    return [times[name][which] for times in runs if name in times]


def _reasons(project: EnvctlProject, notes: Path) -> dict[str, str]:
    argv = [sys.executable, str(_TRACE), str(notes), *project.up_argv]
    try:
        run(argv, project.root, project.environ, _LIMIT_S).checked()
    finally:
        project.down()
    found: dict[str, str] = {}
    for line in notes.read_text(encoding="utf-8").splitlines():
        name, module, function = line.split("\t")
        asker = "the program" if module == "__main__" else f"`{module}`"
        found.setdefault(name, f"{asker}, in `{function}`" if function else asker)
    return found


def _times(project: EnvctlProject) -> Times:
    argv = [sys.executable, "-X", "importtime", *project.up_argv]
    try:
        done = run(argv, project.root, project.environ, _LIMIT_S).checked()
    finally:
        project.down()
    return _parsed(done.lines)


def _parsed(lines: Sequence[Line]) -> Times:
    found = [match.groups() for line in lines if (match := _LINE.match(line.text))]
    return {name: (int(alone) / 1000, int(whole) / 1000) for alone, whole, name in found}
