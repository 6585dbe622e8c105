"""Goes back to a database's baseline, again and again over one connection."""

from __future__ import annotations

from contextlib import suppress
from threading import Thread
from typing import NamedTuple

from envctl.errors import DataFailed, EnvctlError, NoBaseline, ResetBlocked
from envctl.host.clock import monotonic_s
from envctl.kinds.postgres.protocol.asking import LIMIT_S, asking, prepare
from envctl.kinds.postgres.protocol.client import Client
from envctl.kinds.postgres.protocol.login import ServerError
from envctl.kinds.postgres.resets.baseline_swap import baseline_name, is_there, make_spare, swap
from envctl.kinds.postgres.resets.strays import Strays, end_idle
from envctl.model import Connection, ResetReport, ResetStrategy
from envctl.ready.stream import Garbled

_BLOCKED_S = 10.0
_NO_META = {"3F000", "42P01"}  # no such schema, no such table
_LOCKED = {"55P03", "40P01"}  # not within lock_timeout; a deadlock
_ENDED = {"57P01", "57P02", "57P03"}  # by an administrator, by a crash; still starting
_NOT_OURS = ("53100", "57014", "25006", "53300")  # disk full, cancelled, read-only, too many connections
_RESET = "SELECT * FROM envctl.reset()"
_META = "SELECT template, strategy, why, coalesce(copy_ms, 1e9), slow FROM envctl.meta"
# Copies are chosen where so many resets in a row took longer than so many copies; and a swap itself takes a moment.
_TIMES, _SLOWER, _SWAP_MS = 5, 2, 20.0
_SENT_AWAY = "a copy took the database's place, and sessions in it were ended"


class _Meta(NamedTuple):
    template: str
    strategy: str
    why: str
    copy_ms: float
    slow: int


class Resetter:
    """Resets one database; keeps a connection to it open. For one thread.

    Args:
        connection: The database.
        strategy: How; None for what its baseline was taken with.
        ahead: Whether after a swap the copy for the next one is made in the background.
    """

    def __init__(self, connection: Connection, strategy: ResetStrategy | None = None, *, ahead: bool = True) -> None:
        self._connection = connection
        self._ahead = ahead
        self._strategy = strategy
        self._client: Client | None = None
        self._meta: _Meta | None = None
        self._spare: Thread | None = None

    def reset(self) -> ResetReport:
        """Put the baseline back; all of it or nothing.

        Raises:
            NoBaseline: None was taken.
            ResetBlocked: Somebody holds locks and was not ended.
            DataFailed: It failed; nothing was changed.
        """
        began_s = monotonic_s()
        with asking(self._connection, f'reset database "{self._connection.database}"'):
            try:
                strategy, changed, note = self._reset()
            except BaseException:
                self._hang_up()
                raise
        return ResetReport(self._connection.service, strategy, changed, (monotonic_s() - began_s) * 1000, note)

    def close(self) -> None:
        """Hang up, after what goes on in the background has ended."""
        self._hang_up()
        if self._spare:
            self._spare.join()
            self._spare = None

    def _reset(self) -> tuple[str, int, str]:
        meta = self._open()[1]
        if "template" in (self._strategy, meta.strategy):
            return self._by_template(meta, "" if self._strategy == "template" else meta.why)
        began_s = monotonic_s()
        outcome, changed, note = self._by_tables()
        if outcome == "template":
            return self._by_template(meta, note)
        chosen = self._choose(meta, (monotonic_s() - began_s) * 1000) if meta.strategy == "auto" else ""
        return "tables", int(changed), "; ".join(filter(None, (note, chosen)))

    def _by_tables(self) -> tuple[str, str, str]:
        """As `envctl.reset()` answers, once whoever was in the way has ended."""
        deadline_s = monotonic_s() + _BLOCKED_S
        ended: tuple[str, ...] = ()
        while True:
            try:
                outcome, changed, note = self._call()
            except ServerError as error:
                if error.code not in _LOCKED:
                    return "template", "0", self._why_not(error)
                strays = end_idle(self._open()[0])
                ended += strays.ended
                if monotonic_s() > deadline_s:
                    raise self._blocked(error, strays) from None
            else:
                notes = (note, *(f"ended a session that had left a transaction open: {line}" for line in ended))
                return outcome, changed, "; ".join(filter(None, notes))

    def _choose(self, meta: _Meta, took_ms: float) -> str:
        """Where resets go on taking much longer than a copy of everything, copies are better; says so when chosen."""
        slow = meta.slow + 1 if took_ms > _SLOWER * meta.copy_ms + _SWAP_MS else 0
        if slow == meta.slow:
            return ""
        self._meta = meta._replace(slow=slow)
        client = self._open()[0]
        client.rows("UPDATE envctl.meta SET slow = %s::integer", str(slow))
        if slow < _TIMES:
            return ""
        why = f"auto: chosen because a copy of all takes {meta.copy_ms:.0f} ms, and what was touched {took_ms:.0f} ms"
        client.rows("UPDATE envctl.meta SET strategy = 'template', why = %s", why)
        self._meta = None  # read again with the next reset
        return f"from now on by template ({why})"

    def _call(self) -> tuple[str, str, str]:
        """One try. A connection that has ended since the last one is made anew."""
        kept = self._client is not None
        try:
            ((outcome, changed, note),) = self._open()[0].rows(_RESET)
        except ServerError as error:
            if not kept or error.code not in _ENDED:
                raise
        except (OSError, Garbled):
            if not kept:
                raise
        else:
            return outcome or "", changed or "0", note or ""
        self._hang_up()
        return self._call()

    def _open(self) -> tuple[Client, _Meta]:
        if self._client is None:
            self._client = client = Client(self._connection, LIMIT_S)
            prepare(client)
        if self._meta is None:
            self._meta = self._read(self._client)
        return self._client, self._meta

    def _read(self, client: Client) -> _Meta:
        try:
            found = client.rows(_META)
        except ServerError as error:
            if error.code not in _NO_META:
                raise
            found, begun = [], False
        else:
            begun = True
        if found:
            ((template, strategy, why, copy_ms, slow),) = found
            return _Meta(template or "", strategy or "", why or "", float(copy_ms or 0), int(slow or 0))
        template = baseline_name(self._connection.database or "")
        if is_there(self._connection, template):  # a test has removed all schemas, or the database was restored
            return _Meta(template, "template", "the database did not know its baseline", 0, 0)
        raise self._lost("") if begun else self._nothing()

    def _nothing(self) -> EnvctlError:
        name = self._connection.database
        return NoBaseline(
            f'no baseline of database "{name}" was taken',
            subject={"service": self._connection.service, "database": name},
        )

    def _why_not(self, error: ServerError) -> str:
        """What a note says where rows could not be put back for a reason that lies in the schema."""
        if error.code.startswith(("08", "57", "58")) or error.code in _NOT_OURS:
            raise error
        return error.text if error.code == "ENV01" else f"rows could not be put back: {error.text} ({error.code})"

    def _blocked(self, error: ServerError, strays: Strays) -> ResetBlocked:
        return ResetBlocked(
            f'cannot reset database "{self._connection.database}": others hold locks in it',
            cause=f"PostgreSQL says: {error.text} ({error.code})",
            evidence=strays.left or strays.ended,
            fix=["end their transactions, or wait until they have ended, and reset again"],
            subject={"service": self._connection.service, "database": self._connection.database},
            state="nothing was changed",
        )

    def _lost(self, note: str) -> NoBaseline:
        name = self._connection.database
        return NoBaseline(
            f'the copy from which database "{name}" is reset is gone',
            cause="somebody dropped it, or the command that was to make it was ended before it was done",
            evidence=[note] if note else [],
            fix=[
                "envctl up --fresh begins anew",
                f"or have it hold what tests expect, and then: envctl reset --new-baseline {self._connection.service}",
            ],
            subject={"service": self._connection.service, "database": name},
            state="nothing was changed",
        )

    def _by_template(self, meta: _Meta, note: str) -> tuple[str, int, str]:
        self._hang_up()
        if self._spare:
            self._spare.join()
        chosen = meta.why if meta.why.startswith("auto") else ""
        try:
            swap(self._connection, meta.template, chosen, tidy=not self._ahead)
        except DataFailed:
            if is_there(self._connection, meta.template):
                raise
            raise self._lost(note) from None
        if self._ahead:
            self._spare = Thread(target=self._make_spare, args=(meta.template, chosen), name="envctl-spare")
            self._spare.start()
        return "template", 1, "; ".join(filter(None, (note, _SENT_AWAY)))

    def _make_spare(self, template: str, chosen: str) -> None:
        with suppress(DataFailed):  # then the next reset makes one, and says what is wrong
            make_spare(self._connection, template, chosen)

    def _hang_up(self) -> None:
        client, self._client, self._meta = self._client, None, None
        if client:
            with client:
                pass
