"""The example with 40 tables beside containers, by its own README."""

from __future__ import annotations

import pytest
import scheduler_example
import typescript_example
from harness import Project


@pytest.mark.timeout(240)
def test_the_readme_session(project: Project) -> None:
    """Its tests pass in random order with four workers, and nothing is left."""
    scheduler_example.run_pytest_session(scheduler_example.put_into(project), "compose", runs=1)


class TestNode:
    """The TypeScript half."""

    pytestmark = typescript_example.NEEDS

    def test_the_readme_session(self, project: Project) -> None:
        """Its tests pass in random order, file beside file, and nothing is left."""
        scheduler_example.run_vitest_session(scheduler_example.put_into(project, node=True), "compose", runs=1)
