"""The TypeScript example beside containers, by its own README."""

from __future__ import annotations

import typescript_example
from harness import Project

pytestmark = typescript_example.NEEDS


def test_the_readme_session(project: Project) -> None:
    """Every command of the README works, the tests pass, an edit starts the server alone anew, and nothing is left."""
    typescript_example.run_session(typescript_example.put_into(project), "compose")
