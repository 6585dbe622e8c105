"""The baseline of a Redis: what a database holds at one moment, kept in the same server, and put back by a reset.

It is kept in a database of its own, beyond those that tests use, with the TTLs beside it. A reset copies it inside the
server. A small one at one moment; a large one is built beside, a few thousand keys at a time, so that others are served
meanwhile, and then takes the place of what is there; who resets again and again has it built ahead (see `building`). A
second copy outlives `FLUSHALL` (see `second`).

Where no baseline was ever taken, it is taken to be empty: nothing was ever put into such a server on purpose.
"""

from __future__ import annotations

import os

from envctl.errors import NoBaseline, ResetBlocked
from envctl.host import clock
from envctl.kinds.contents import Inside
from envctl.kinds.redis import proof
from envctl.kinds.redis.protocol.layout import LIVE
from envctl.kinds.redis.protocol.link import LIMIT_S, Link, explained, failed
from envctl.kinds.redis.resets import scripts, second
from envctl.kinds.redis.resets.building import Ahead, build, finish
from envctl.model import Connection, ResetReport, ResetStrategy

COPY, FLUSH = "copy", "flush"
"""How it was reset: from the baseline, or, where none was ever taken, emptied."""

AT_ONCE = 10_000
"""So many keys are copied at one moment: about 15 ms, in which the server serves nobody else."""

_TAKING = "remember the keys"
_RESETTING = "put the keys back"
_WAIT_S = 120.0
_PAUSE_S = 0.01


def take(connection: Connection, strategy: ResetStrategy, inside: Inside) -> None:  # noqa: ARG001 - the contract's
    """From now on a reset goes back to what the connection's database holds now.

    Args:
        connection: The service.
        strategy: There is one for all.
        inside: Not needed.

    Raises:
        DataFailed: It could not be remembered; then there is no baseline.
    """
    number, baseline_id = _number(connection), os.urandom(8).hex()
    with explained(connection, _TAKING), Link(connection) as link:
        has_functions = second.announce(link)
        with link.patiently():
            count = link.run(scripts.TAKE, number, baseline_id)
        if has_functions:
            second.keep(link, baseline_id, count if isinstance(count, int) else 0)


def reset(connection: Connection, strategy: ResetStrategy | None = None) -> ResetReport:  # noqa: ARG001 - the contract's
    """Put the baseline into the connection's database, whoever is connected; all of it or nothing.

    Args:
        connection: The service, or a worker's database of it.
        strategy: There is one for all.

    Raises:
        NoBaseline: It was lost.
        ResetBlocked: Another reset of the same database did not end.
        DataFailed: It failed; nothing was changed.
    """
    resetter = Resetter(connection)
    try:
        return resetter.reset()
    finally:
        resetter.close()


class Resetter:
    """Resets one database again and again, over one connection that is made when it is first needed.

    A server that was started again meanwhile, or has closed the connection, is connected to and proven anew.

    Args:
        connection: The service, or a worker's database of it.
        strategy: There is one for all.
    """

    def __init__(self, connection: Connection, strategy: ResetStrategy | None = None) -> None:
        self._connection = connection
        self._number = _number(connection)
        self._link: Link | None = None
        self._ahead: Ahead | None = None
        self._built = 0  # large baselines so far

    def close(self) -> None:
        """End the connection; a later reset makes another."""
        self._hang_up()
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.stop()

    def _hang_up(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def reset(self) -> ResetReport:
        """As the function of the same name. Raises ForeignServer too."""
        began_s = clock.monotonic_s()
        with explained(self._connection, _RESETTING):
            try:
                strategy, changed, note = self._try()
            except ConnectionError:
                if self._link is None:
                    raise
                self._hang_up()
                strategy, changed, note = self._try()
            except BaseException:
                self._hang_up()  # an answer may still be under way
                raise
        took_ms = (clock.monotonic_s() - began_s) * 1000
        return ResetReport(self._connection.service, strategy, changed, round(took_ms, 3), note)

    def _try(self) -> tuple[str, int, str]:
        if self._link is None:
            link = proof.connect(self._connection, LIMIT_S)
            try:
                proof.check(link, self._connection)
            except BaseException:
                link.close()
                raise
            self._link = link
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.wait()
        one = _Reset(self._link, self._connection, self._number)
        done = one.run()
        if one.large_id:
            self._built += 1
            if self._built > 1:  # not for a single reset
                self._ahead = Ahead(self._connection, self._number, one.large_id)
        return done


class _Reset:
    """One reset.

    Attributes:
        large_id: The baseline's id, if it is a large one.
    """

    def __init__(self, link: Link, connection: Connection, number: int) -> None:
        self._link, self._connection, self._number = link, connection, number
        self._note = ""
        self.large_id = ""

    def run(self) -> tuple[str, int, str]:
        """How, how many keys, and what people should know."""
        until_s = clock.monotonic_s() + _WAIT_S
        while True:
            if clock.monotonic_s() > until_s:
                raise self._blocked()
            said, size, *more = self._link.texts(scripts.RESET, self._number, AT_ONCE)
            self.large_id = more[0] if more else ""
            if said == "done":
                return COPY, int(size), self._note
            if said == "none":
                if not self._healed():
                    self._link.run(scripts.EMPTY, self._number)
                    return FLUSH, 0, "no baseline was ever taken"
            elif self._built(self.large_id):
                return COPY, int(size), self._note

    def _healed(self) -> bool:
        """Whether there is a baseline again; False where there never was one."""
        copy = second.find(self._link)
        if copy is None:
            return False
        if copy.records is None:
            raise self._lost(copy.id)
        second.heal(self._link, copy)
        self._note = "FLUSHALL had removed the baseline: it was put back from its second copy"
        return True

    def _blocked(self) -> ResetBlocked:
        return ResetBlocked(
            f"database {self._number} of Redis could not be reset",
            cause=f"others reset it, or removed the baseline, again and again for {_WAIT_S:g} s",
            subject={"service": self._connection.service},
            state="nothing was changed",
        )

    def _lost(self, baseline_id: str) -> NoBaseline:
        service = self._connection.service
        why = (
            "FLUSHALL removed it, and it was too large for the second copy that is kept of small ones "
            f"({second.MOST_KEYS} keys, {second.MOST_BYTES // 1024**2} MiB)"
        )
        return NoBaseline(
            f'the baseline of service "{service}" is gone',
            cause=why if baseline_id else "the command that took it was ended before it was done",
            fix=[
                "envctl up --fresh begins anew",
                f"or fill it and take what it holds then: envctl reset --new-baseline {service}",
                *(["have the tests use FLUSHDB instead: it empties their own database only"] if baseline_id else []),
            ],
            subject={"service": service},
            state="nothing was changed",
        )

    def _built(self, baseline_id: str) -> bool:
        """Build it beside and put it in its place; False where something came between, so that it has to begin anew."""
        token = build(self._link, self._number, baseline_id)
        if token is None:
            clock.sleep_s(_PAUSE_S)
            return False
        return finish(self._link, self._number, baseline_id, token)


def _number(connection: Connection) -> int:
    number = int(connection.database or 0)
    if number >= LIVE:
        cause = f"database {number} is not one of the first {LIVE}; those beyond hold what a reset needs"
        raise failed(connection, _RESETTING, cause, [f"services.{connection.service}.database: choose a smaller one"])
    return number
