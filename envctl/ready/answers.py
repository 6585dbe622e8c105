"""What a try of a probe answers with."""

from __future__ import annotations

from envctl.model import Attempt, Verdict

# How the answer of a handshake begins where the server knows another password; see envctl.ready.handshake.
PASSWORD_REFUSED = "password refused"  # noqa: S105 - words of an answer, not a password


def not_yet(detail: str) -> Attempt:
    """A try that found the service not ready."""
    return Attempt(Verdict.NOT_YET, detail)


def ready(detail: str) -> Attempt:
    """A try that proved the service ready."""
    return Attempt(Verdict.READY, detail)
