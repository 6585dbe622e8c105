"""The bundled WebSocket server runs by this very Python, if that has what it needs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from envctl.errors import EngineNotInstalled
from envctl.kinds.websocket import native


def test_this_python() -> None:
    """Its path and its version."""
    program = native.find({}, {})

    assert program.paths == {"python": sys.executable}
    assert sys.version.startswith(program.version)


@pytest.mark.provokes("ENGINE_NOT_INSTALLED")
def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each package that is not there, and how to get them."""
    (tmp_path / "psycopg").mkdir()
    (tmp_path / "psycopg/__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    hidden = {"websockets", "redis"}
    loaded = {name: module for name, module in sys.modules.items() if name not in hidden}
    monkeypatch.setattr(sys, "modules", loaded)

    with pytest.raises(EngineNotInstalled) as caught:
        native.find({}, {})

    assert caught.value.code == "ENGINE_NOT_INSTALLED"
    assert caught.value.subject == {"missing": ["websockets", "redis"]}
    assert caught.value.fix[0] == "pip install 'envctl[embedded]'"


def test_nothing_to_prepare(tmp_path: Path) -> None:
    """It has no data."""
    native.prepare({}, tmp_path, None, {}, None)

    assert list(tmp_path.iterdir()) == []
