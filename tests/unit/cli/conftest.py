"""The command line, called in this process, with a substituted conductor."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_samples import ENVIRONMENT_FUNCTIONS, FLEET_FUNCTIONS, Call, Conductor, Outcome

from envctl import environment, fleet
from envctl.cli.main import run


@pytest.fixture(autouse=True)
def outside_of_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CI system, too, these tests are on none but where they say so."""
    for name in ("GITHUB_ACTIONS", "GITLAB_CI"):
        monkeypatch.delenv(name, raising=False)


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
