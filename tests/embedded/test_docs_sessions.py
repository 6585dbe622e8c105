"""The commands in the pages of docs/ are carried out as a reader would type them."""

from __future__ import annotations

from pathlib import Path

import doc_session
import pytest
from harness import Project

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("page", "written"), [("running.md", ["envctl-artifacts/*"]), ("python.md", [])])
def test_page(project: Project, page: str, written: list[str]) -> None:
    """Every command of the page works in a fresh repository, and leaves nothing."""
    project.allow_files("runs/*", *written)
    doc_session.follow(project, DOCS / page, limit_s=120)
    project.assert_nothing_left()
