"""Sessions that keep a reset from getting at the data: which they are, and an end to those that only forgot to end."""

from __future__ import annotations

from typing import NamedTuple

from envctl.kinds.postgres.protocol.client import Client

# Whoever wrote anything holds a lock on `touched`; whoever locked rows or a table holds one on that. Readers hold a
# weak one on what they read, which is in nobody's way. Who is idle for a moment, between two statements, is at work.
_FIND = """
SELECT DISTINCT a.pid, a.state, coalesce(nullif(a.application_name, ''), '?'), coalesce(a.usename, '?'),
    extract(epoch FROM clock_timestamp() - coalesce(a.state_change, a.xact_start))::int,
    left(regexp_replace(coalesce(a.query, ''), '[[:space:]]+', ' ', 'g'), 120),
    coalesce(a.state IN ('idle in transaction', 'idle in transaction (aborted)')
        AND a.state_change < clock_timestamp() - interval '900 ms', false)
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND l.locktype = 'relation' AND a.pid <> pg_backend_pid()
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (l.relation = 'envctl.touched'::regclass OR l.mode <> 'AccessShareLock'
        AND l.relation IN (SELECT rel FROM envctl.relation))
ORDER BY 1
"""
_PREPARED = """
SELECT p.gid, p.owner, extract(epoch FROM clock_timestamp() - p.prepared)::int
FROM pg_prepared_xacts p WHERE p.database = current_database()
    AND EXISTS (SELECT FROM pg_locks l WHERE l.pid IS NULL AND l.relation = 'envctl.touched'::regclass)
"""


class Strays(NamedTuple):
    """Who was in the way.

    Attributes:
        ended: Those that were idle in a transaction, which is over now: a line for each.
        left: Those that are at work: a line for each.
    """

    ended: tuple[str, ...]
    left: tuple[str, ...]


def end_idle(client: Client) -> Strays:
    """End the transactions of those that do nothing in them. Raises what `Client.rows` raises."""
    ended, left = [], []
    for pid, state, application, user, since, query, idle in client.rows(_FIND):
        line = f'pid {pid} ({application}, user {user}, {state} for {since} s): "{query}"'
        if idle == "t" and client.rows(f"SELECT pg_terminate_backend({pid})") == [("t",)]:
            ended.append(line)
        else:
            left.append(line)
    left += [
        f'prepared transaction "{gid}" (user {user}, for {since} s)' for gid, user, since in client.rows(_PREPARED)
    ]
    return Strays(tuple(ended), tuple(left))
