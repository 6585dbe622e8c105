"""Puts into a database what remembers its baseline and notes what is touched from then on; see baseline.sql."""

from __future__ import annotations

from pathlib import Path

from envctl.kinds.postgres.protocol.asking import LIMIT_S, asking, prepare
from envctl.kinds.postgres.protocol.client import Client, literal
from envctl.model import Connection, ResetStrategy

VERSION = 2
_AT_ONCE = 200  # tables that get triggers in one transaction: each lock takes room that is limited
_MOST_ROWS, _MOST_BYTES = 1000, 256 * 1024  # of a table whose rows are remembered as text, beside others
# A table with more rows has the keys of touched rows noted: up to that share of them, and up to that number.
_LARGE_ROWS, _SHARE, _KEYS = 5000, 0.1, 10_000
# How it is seen that a sequence has moved: since 18 one function tells all of its state. The older one tells nothing of
# a sequence that was never called, and to read it takes twenty times as long as to set it.
_MOVED = "pg_get_sequence_data(s.seq) <> ROW(s.last, s.called)"
_MOVED_OLDER = "NOT s.called OR pg_sequence_last_value(s.seq) IS DISTINCT FROM s.last"
_META = "INSERT INTO envctl.meta (template, strategy, why, version) VALUES (%s, %s, %s, %s);"
_EVENTS = """
CREATE EVENT TRIGGER envctl_command ON ddl_command_end EXECUTE FUNCTION envctl.note_command();
CREATE EVENT TRIGGER envctl_drop ON sql_drop EXECUTE FUNCTION envctl.note_drop();
ALTER EVENT TRIGGER envctl_command ENABLE ALWAYS;
ALTER EVENT TRIGGER envctl_drop ENABLE ALWAYS;
"""
_NO_EVENTS = "DROP EVENT TRIGGER IF EXISTS envctl_command; DROP EVENT TRIGGER IF EXISTS envctl_drop;"
_NO_SUPERUSER = "the user is no superuser"


def instrument(connection: Connection, template: str, strategy: ResetStrategy) -> None:
    """Remember what a database holds now, inside it: from now on it can be reset, and so can copies of it.

    What was remembered before is forgotten. Whoever writes meanwhile is waited for, and waits.

    Args:
        connection: The database.
        template: Name of the sealed database that a reset copies where rows are not enough.
        strategy: How resets are to go.

    Raises:
        DataFailed: It could not be remembered; then nothing is.
    """
    aim = f'remember what database "{connection.database}" holds'
    with asking(connection, aim), Client(connection, LIMIT_S) as client:
        superuser = prepare(client)
        client.rows("SET lock_timeout = '30s'")
        _forget(client, superuser=superuser)
        why = "" if superuser or strategy == "template" else _NO_SUPERUSER
        by_tables = superuser and strategy != "template"
        script = "".join(Path(__file__).with_name(name).read_text("utf-8") for name in ("baseline.sql", "keys.sql"))
        client.rows(script.replace("{changed}", _MOVED if client.version == 18 else _MOVED_OLDER))
        meta = _META % tuple(map(literal, (template, strategy if by_tables else "template", why, str(VERSION))))
        if by_tables:
            for arm in (f"arm({_AT_ONCE})", f"arm_keys({_AT_ONCE}, {_LARGE_ROWS}, {_SHARE}, {_KEYS})"):
                while client.rows(f"SELECT envctl.{arm}") == [(str(_AT_ONCE),)]:
                    pass
            client.rows(f"SELECT envctl.remember({_MOST_ROWS}, {_MOST_BYTES}); {meta} {_EVENTS}")
        else:
            client.rows(meta)


def forget(connection: Connection) -> None:
    """Take all of it out of a database again. Raises DataFailed."""
    aim = f'forget the baseline of database "{connection.database}"'
    with asking(connection, aim), Client(connection, LIMIT_S) as client:
        _forget(client, superuser=prepare(client))


def _forget(client: Client, *, superuser: bool) -> None:
    client.rows((_NO_EVENTS if superuser else "") + "DROP SCHEMA IF EXISTS envctl CASCADE")
