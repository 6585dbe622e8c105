"""One database takes the place of another; whoever is connected to that is sent away.

For the server it is one statement: whoever asked for it may die at any moment, and it is done or it is not. Only a
server that ends in the middle of it leaves a database that lets nobody in.
"""

from __future__ import annotations

from envctl.kinds.postgres.protocol.client import Client, identifier, literal

_LEAVE_S = 10

# New sessions are kept out first: else clients that connect again at once would be in the way of the renames, which
# are one transaction, so that the name is never without a database. A backend takes a moment to end; Postgres itself
# would look again only after 100 ms. A block that handles an error cannot commit: hence `failure`.
_EXCHANGE = """
DECLARE
  until timestamptz := clock_timestamp() + interval '{leave_s} s';
  failure text;
  code text;
BEGIN
  ALTER DATABASE {own} WITH ALLOW_CONNECTIONS false;
  COMMIT;
  BEGIN
    LOOP
      PERFORM pg_stat_clear_snapshot();
      PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {name};
      EXIT WHEN NOT FOUND OR clock_timestamp() > until;
      PERFORM pg_sleep(0.002);
    END LOOP;
    ALTER DATABASE {own} RENAME TO {old};
    ALTER DATABASE {new} RENAME TO {own};
  EXCEPTION WHEN OTHERS OR query_canceled THEN
    GET STACKED DIAGNOSTICS failure = MESSAGE_TEXT, code = RETURNED_SQLSTATE;
  END;
  IF failure IS NOT NULL THEN
    ALTER DATABASE {own} WITH ALLOW_CONNECTIONS true;
    COMMIT;
    RAISE EXCEPTION USING MESSAGE = failure, ERRCODE = code;
  END IF;
END"""


def exchange(session: Client, name: str, new: str, old: str) -> None:
    """Give a database another's name.

    Args:
        session: Connected to neither of them, and in no transaction.
        name: What it is to be called. There may be no such database yet.
        new: What it is called now.
        old: What the one is called afterwards that had the name; it lets nobody in any more.

    Raises:
        ServerError: It could not be done, and all is as it was: somebody did not leave within ten seconds, or
            something else holds the database, such as a transaction that was prepared for a second phase.
    """
    if not exists(session, name):
        session.rows(f"ALTER DATABASE {identifier(new)} RENAME TO {identifier(name)}")
        return
    body = _EXCHANGE.format(
        leave_s=_LEAVE_S, name=literal(name), own=identifier(name), new=identifier(new), old=identifier(old)
    )
    session.rows(f"DO {literal(body)}")


def exists(session: Client, name: str) -> bool:
    """Whether the server has a database of this name. Raises ServerError."""
    return bool(session.rows("SELECT 1 FROM pg_database WHERE datname = %s", name))
