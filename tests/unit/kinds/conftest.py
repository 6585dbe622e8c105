"""Servers to try probes on, and an environment of envctl's own plugin for what wants a server like any other."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))


@pytest.fixture(scope="session")
def envctl_spec(projects_folder: Path) -> Mapping[str, Any]:
    """What they need, below the folder of the test session."""
    return {"services": {"postgres": {}, "redis": {}}}


@pytest.fixture(scope="session")
def envctl_engine() -> str:
    """They need no Docker."""
    return "embedded"
