"""Where a checker is told to look away, the line says why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import source

# After the rules: " - why" behind ruff's, a second comment behind mypy's.
_SUPPRESSION = re.compile(r"# (?:noqa|type: ignore)\b(.*)")
_WITH_REASON = re.compile(r"(?:: [A-Z0-9, ]+ - |\[[a-z, -]+\] {1,2}# )\S")


@pytest.mark.parametrize("folder", ["envctl", "compose", "benchmarks", "tests"])
def test_every_suppression_has_a_reason(folder: str) -> None:
    """None stands for a whole line without its rules, and none without its reason."""
    bare = [
        f"{path.relative_to(source.ROOT)}:{number}"
        for path in sorted((source.ROOT / folder).rglob("*.py"))
        if path != Path(__file__)  # which names them
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if (found := _SUPPRESSION.search(line)) and not _WITH_REASON.match(found[1])
    ]
    assert bare == []
