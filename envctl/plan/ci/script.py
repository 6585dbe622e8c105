"""The commands that the jobs of all CI systems have in common."""

from __future__ import annotations

from collections.abc import Sequence

ARTIFACTS = "envctl-artifacts"
"""Folder for what explains a failed run."""

UNKNOWN_TEST = "your-test-command"


def run_command(tests: Sequence[str]) -> str:
    """`envctl run` around the tests; several of them share the services, and the first that fails ends it."""
    return f"envctl run --artifacts {ARTIFACTS} -- {_one(tests)}"


def _one(tests: Sequence[str]) -> str:
    if len(tests) > 1:
        return f"sh -c '{' && '.join(tests)}'"  # none of them holds a quote
    return tests[0] if tests else UNKNOWN_TEST


def requirement(version: str, extra: str = "") -> str:
    """What pip is asked for: this release of envctl with its corrections, and nothing newer, quoted for a shell."""
    major, minor = version.split(".")[:2]
    return f"'envctl{extra}=={major}.{minor}.*'"


def commented(lines: Sequence[str], indent: str) -> list[str]:
    """Lines of YAML as a comment."""
    return [f"{indent}# {line}".rstrip() for line in lines]
