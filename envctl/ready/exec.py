"""The check of a user's `ready: {exec: …}`."""

from __future__ import annotations

from dataclasses import dataclass

from envctl.errors import EnvctlError
from envctl.host.terminal import escape
from envctl.model import Attempt
from envctl.ready.answers import not_yet, ready
from envctl.ready.base import ENGINE, Pace, Target

_MOST_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class ExecProbe:
    """A program that exits with 0 when it is run inside the service.

    Attributes:
        service: The service's name.
        command: The program and its arguments.
        target: Whom to ask to run it.
    """

    service: str
    command: tuple[str, ...]
    target: Target
    pace: Pace = ENGINE

    def describe(self) -> str:
        """What is waited for."""
        return f"runs `{' '.join(self.command)}` with success"

    def attempt(self, limit_s: float) -> Attempt:
        """Run it once."""
        try:
            code, output = self.target.exec(self.service, self.command, limit_s)
        except TimeoutError:
            return not_yet(f"the check did not end within {limit_s:.1f} s")
        except EnvctlError as error:
            return not_yet(f"the check could not be run: {error.message}")
        lines = output.strip().splitlines()
        answer = f"exit code {code}" + (f": {escape(lines[-1], limit=_MOST_CHARACTERS)}" if lines else "")
        return ready(answer) if code == 0 else not_yet(answer)
