"""The check of a user's `ready: {log: …}`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from envctl.errors import EnvctlError
from envctl.model import Attempt
from envctl.ready.answers import not_yet, ready
from envctl.ready.base import ENGINE, Pace, Target


@dataclass(frozen=True, slots=True)
class LogProbe:
    """Lines of the service's log that match a regular expression.

    Attributes:
        service: The service's name.
        pattern: The regular expression, searched in each line.
        count: How many lines must match.
        target: Whom to ask for the log.
    """

    service: str
    pattern: str
    count: int
    target: Target
    pace: Pace = ENGINE

    def describe(self) -> str:
        """What is waited for."""
        times = "" if self.count == 1 else f" {self.count} times"
        return f"logs a line that matches {self.pattern!r}{times}"

    def attempt(self, limit_s: float) -> Attempt:
        """One look at the log so far. How long the engine takes to give it is the engine's matter."""
        try:
            lines = self.target.logs(self.service).splitlines()
            found = sum(1 for line in lines if re.search(self.pattern, line))
        except EnvctlError as error:
            return not_yet(f"no log: {error.message}")
        except re.error as error:
            return not_yet(f"the pattern is not a regular expression: {error}")
        answer = f"{found} of {self.count} matching lines among {len(lines)}"
        return ready(answer) if found >= self.count else not_yet(answer)
