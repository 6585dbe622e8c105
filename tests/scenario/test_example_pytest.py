"""The example for pytest beside containers, by its own README."""

from __future__ import annotations

import pytest_example
from harness import Project


def test_the_readme_session(project: Project) -> None:
    """Every command of the README works, the tests pass with four workers, and nothing is left."""
    pytest_example.run_session(pytest_example.put_into(project), "compose")
