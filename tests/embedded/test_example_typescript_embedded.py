"""The TypeScript example where there is no Docker, by its own README."""

from __future__ import annotations

import json

import typescript_example
from harness import Project
from typescript_example import EXAMPLE, put_into, shell

pytestmark = typescript_example.NEEDS


def test_the_readme_session(project: Project) -> None:
    """Every command of the README works, the tests pass, an edit starts the server alone anew, and nothing is left."""
    typescript_example.run_session(put_into(project), "embedded")


def test_the_types_are_right(project: Project) -> None:
    """TypeScript finds nothing, with every check that it has switched on."""
    shell(put_into(project), "npm run check")


def test_the_lock_file_names_no_registry() -> None:
    """The packages are locked by their digests, and come from whatever registry is set up."""
    packages = json.loads((EXAMPLE / "package-lock.json").read_text("utf-8"))["packages"]
    ours = {"", "../../js", "node_modules/envctl"}
    assert {name for name, package in packages.items() if "resolved" in package} == {"node_modules/envctl"}
    assert packages["node_modules/envctl"] == {"resolved": "../../js", "link": True}
    assert {name for name, package in packages.items() if "integrity" not in package} == ours
