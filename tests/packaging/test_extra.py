"""What `pip install 'envctl[embedded]'` brings is what the embedded engine needs."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_extra_holds_what_the_bundled_server_needs() -> None:
    """The image and the extra give the WebSocket server the same libraries."""
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]["embedded"]
    needed = (ROOT / "compose" / "websocket" / "requirements.txt").read_text("utf-8").split()
    assert needed
    assert set(needed) <= set(extra)
