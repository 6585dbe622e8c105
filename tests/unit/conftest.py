"""An engine in memory in the place of every engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from stand_in import StandIn

from envctl import engines
from envctl.host.paths import ensure_state_dir
from envctl.host.registry import Registry


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The engine that everybody gets."""
    engine = StandIn()
    monkeypatch.setattr(engines, "create", lambda *_: engine)
    monkeypatch.setattr(engines, "names", lambda: ("compose",))
    return engine


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Variables with a state directory of the test's own."""
    return {"ENVCTL_STATE_DIR": str(ensure_state_dir(tmp_path / "state"))}


@pytest.fixture
def registry(environ: dict[str, str]) -> Registry:
    """Its registry."""
    return Registry.open(Path(environ["ENVCTL_STATE_DIR"]))
