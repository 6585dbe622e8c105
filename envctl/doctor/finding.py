"""One thing the doctor has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from envctl.errors import EnvctlError


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact, a decision or a problem.

    Attributes:
        topic: What it belongs to: "engine", "state", …
        name: What it is: "endpoint", "directory", …
        value: As found, raw: escape and redact before printing.
        problem: What is wrong with it, or "".
        fix: What to do about the problem.
        code: The error code that `envctl up` would end with, or "" where it would still work.
        exit_code: The exit code of that error, or 0.
    """

    topic: str
    name: str
    value: str
    problem: str = ""
    fix: tuple[str, ...] = ()
    code: str = ""
    exit_code: int = 0

    @classmethod
    def of_error(cls, topic: str, name: str, error: EnvctlError, value: str = "", *, blocking: bool = True) -> Finding:
        """A problem that would end `envctl up` with `error`, or that is only worth knowing where not `blocking`."""
        told = [error.message, error.cause or "", *error.evidence]
        problem = "\n".join(filter(None, told))
        code, exit_code = (error.code, error.exit) if blocking else ("", 0)
        return cls(topic, name, value, problem, error.fix, code, exit_code)

    def as_dict(self) -> dict[str, Any]:
        """As `--format json` prints it."""
        report: dict[str, Any] = {"topic": self.topic, "name": self.name, "value": self.value}
        if self.problem:
            report |= {"problem": self.problem, "fix": list(self.fix), "blocking": self.exit_code != 0}
            report |= {"code": self.code} if self.code else {}
        return report
