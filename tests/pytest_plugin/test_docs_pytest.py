"""The page of docs/ is carried out as a reader would type it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import doc_session
import pytest_runs
from harness import Project

PAGE = Path(__file__).parents[2] / "docs" / "pytest.md"


def test_page(make_project: Callable[..., Project]) -> None:
    """Every command works, every test that is shown passes, and nothing is left."""
    project = make_project(engine="embedded")
    project.environ |= pytest_runs.tidy(project)
    out = doc_session.follow(project, PAGE, limit_s=120).stdout
    assert re.findall(r"(\d+) passed", out) == ["6", "6"]
    project.assert_nothing_left()


def test_every_fixture_is_told() -> None:
    """The page has each fixture and option that the plugin has."""
    from envctl import pytest_plugin

    text = PAGE.read_text("utf-8")
    fixtures = [name for name, value in vars(pytest_plugin).items() if hasattr(value, "_fixture_function")]
    public = [name for name in fixtures if not name.startswith("_")]
    assert len(public) == 21
    assert [name for name in (*public, "--envctl-keep", "--envctl-fresh", "--envctl-engine") if name not in text] == []
