"""The command line, called in this process, with a substituted conductor."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cli_samples import ENVIRONMENT_FUNCTIONS, FLEET_FUNCTIONS, Conductor

from envctl import environment, fleet
from envctl.cli.main import run


@dataclass(frozen=True)
class Outcome:
    """How a call ended."""

    exit: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout, parsed."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error on stderr, parsed."""
        return json.loads(self.err)["error"]


Call = Callable[..., Outcome]


@pytest.fixture
def conductor(monkeypatch: pytest.MonkeyPatch) -> Conductor:
    """Stands in for the real one, which needs an engine."""
    substitute = Conductor()
    for name in ENVIRONMENT_FUNCTIONS:
        monkeypatch.setattr(environment, name, getattr(substitute, name))
    for name in FLEET_FUNCTIONS:
        monkeypatch.setattr(fleet, name, getattr(substitute, name))
    return substitute


@pytest.fixture
def envctl(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, conductor: Conductor
) -> Call:
    """Calls the program as from a shell in an empty folder, with pipes for stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENVCTL_STATE_DIR", str(tmp_path / "state"))
    for name in ("NO_COLOR", "_ENVCTL_COMPLETE", "GIT_DIR"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str) -> Outcome:
        capfd.readouterr()
        code = run(arguments)
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call
