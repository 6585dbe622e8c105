"""How `envctl doctor` prints what was found; what is found is tested in tests/unit/doctor."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cli_samples import Call

from envctl.cli.commands import doctor
from envctl.doctor import Finding

FINDINGS = [
    Finding("network", "HTTP_PROXY", "http://user:hunter22@proxy:3128"),
    Finding("ports", "kernel's own", "1024-65535", "overlaps\x1b[2J", ("sysctl",)),
]
BLOCKING = [
    Finding("engine", "engine", "", "does not answer", ("start it",), "ENGINE_UNREACHABLE", 69),
    Finding("state", "directory", "", "open", (), "STATE_DENIED", 77),
]


def _found(monkeypatch: pytest.MonkeyPatch, findings: list[Finding]) -> None:
    def examine(_: object) -> Iterator[Finding]:
        yield from findings

    monkeypatch.setattr(doctor, "examine", examine)


def test_warnings_alone_are_success(envctl: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not stop an `up` is told and does not fail; secrets and control characters stay out."""
    _found(monkeypatch, FINDINGS)
    for form in ("text", "json"):
        outcome = envctl("doctor", "--format", form)
        assert outcome.exit == 0
        assert "hunter22" not in outcome.out
        assert "\x1b" not in outcome.out
    assert envctl("doctor", "--format", "json").json["healthy"] is True


def test_the_first_blocking_problem_gives_the_exit_code(envctl: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """All problems are shown."""
    _found(monkeypatch, FINDINGS + BLOCKING)
    outcome = envctl("doctor")
    assert outcome.exit == 69
    assert "start it" in outcome.out
    assert "3 problems" in outcome.out
    assert envctl("doctor", "--format", "json").json["healthy"] is False
