"""The TypeScript half of the example with 40 tables where there is no Docker, by its own README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import scheduler_example
import typescript_example
from harness import Project

pytestmark = typescript_example.NEEDS


def test_the_readme_session(project: Project) -> None:
    """Its tests pass in random order, file beside file, again and again in one environment, and the types are right."""
    scheduler_example.run_vitest_session(scheduler_example.put_into(project, node=True), "embedded", runs=2)
    typescript_example.shell(project, "cd ts; npm run check")


def test_the_packages_are_those_of_the_other_example() -> None:
    """So they name no registry, and one installation is enough to test both."""
    ours, others = (_locked(folder) for folder in (scheduler_example.EXAMPLE / "ts", typescript_example.EXAMPLE))
    names = {name for name, package in ours.items() if "integrity" in package}
    assert {name: ours[name]["integrity"] for name in names} == {name: others[name]["integrity"] for name in names}
    assert ours.keys() - names == {"", "../../../js", "node_modules/envctl"}
    assert [name for name, package in ours.items() if "resolved" in package] == ["node_modules/envctl"]


def _locked(folder: Path) -> dict[str, Any]:
    packages: dict[str, Any] = json.loads((folder / "package-lock.json").read_text("utf-8"))["packages"]
    return packages
