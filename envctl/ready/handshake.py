"""A kind's own handshake as a probe, and two probes that must both succeed."""

from __future__ import annotations

from time import monotonic

from envctl.host.terminal import MASK, escape
from envctl.kinds.base import ProbeFunction
from envctl.model import Attempt, Connection, Verdict
from envctl.ready.answers import PASSWORD_REFUSED
from envctl.ready.base import SOCKETS, Pace, Probe

# A server started on prepared data may get this environment's password shortly after its start. What is refused for
# longer stays refused: it is another server, or a volume with an older password.
_PATIENCE_S = 5.0

_MOST_CHARACTERS = 300


class Handshake:
    """The handshake of a service's kind, on the address that is handed out.

    The only judgement over several tries is made here: a password refused for five seconds without any other answer
    is refused for good, so that nobody waits a minute to read it.
    """

    pace: Pace = SOCKETS

    def __init__(self, connection: Connection, function: ProbeFunction, patience_s: float = _PATIENCE_S) -> None:
        self._connection = connection
        self._function = function
        self._patience_s = patience_s
        self._refused_since: float | None = None

    def describe(self) -> str:
        """What is waited for."""
        connection = self._connection
        return f"answers the {connection.kind.capitalize()} handshake on {connection.host}:{connection.port}"

    def attempt(self, limit_s: float) -> Attempt:
        """One handshake."""
        answer = self._safe(self._function(self._connection, limit_s))
        if not answer.detail.startswith(PASSWORD_REFUSED):
            self._refused_since = None
            return answer
        now = monotonic()
        if self._refused_since is None:
            self._refused_since = now
        if now - self._refused_since < self._patience_s:
            return answer
        return Attempt(Verdict.NEVER, answer.detail)

    def _safe(self, answer: Attempt) -> Attempt:
        """The answer without what a server may have put into it: the password it was sent, or control characters."""
        secret = self._connection.password
        detail = answer.detail.replace(secret, MASK) if secret else answer.detail
        return Attempt(answer.verdict, escape(detail, limit=_MOST_CHARACTERS))


class Both:
    """Two probes, one after the other: the second is tried where the first succeeds."""

    def __init__(self, first: Probe, second: Probe) -> None:
        self._first, self._second = first, second
        self.pace = first.pace

    def describe(self) -> str:
        """What is waited for."""
        return f"{self._first.describe()} and {self._second.describe()}"

    def attempt(self, limit_s: float) -> Attempt:
        """One try of both, within one limit."""
        deadline_s = monotonic() + limit_s
        answer = self._first.attempt(limit_s)
        if answer.verdict is not Verdict.READY:
            return answer
        return self._second.attempt(max(0.001, deadline_s - monotonic()))


class Running:
    """For a service without ports and without a check: that it runs is all there is to know, and the engine says so.

    Args:
        settle_s: How long it must have run since the first try. One that ends at once would otherwise be found running;
            its end is reported by the engine, not by this probe.
    """

    pace: Pace = SOCKETS

    def __init__(self, settle_s: float = 0.0) -> None:
        self._settle_s = settle_s
        self._since: float | None = None

    def describe(self) -> str:
        """What is waited for."""
        return "runs"

    def attempt(self, limit_s: float) -> Attempt:
        """Nothing to try but time."""
        now = monotonic()
        if self._since is None:
            self._since = now
        if now - self._since < self._settle_s:
            return Attempt(Verdict.NOT_YET, "has only just started")
        return Attempt(Verdict.READY, "runs; it has no port and no check")
