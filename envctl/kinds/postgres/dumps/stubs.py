"""What stands in the place of envctl's own schema while a dump is restored.

A dump leaves the schema `envctl` out, but not the triggers on other tables that call its functions: they could not be
made without them. So empty functions are made first, and removed with all triggers that call them afterwards. A reset
finds then that this database does not know what was touched, and replaces it by a copy of the baseline.
"""

from __future__ import annotations

from collections.abc import Sequence

from envctl.kinds.postgres.protocol.client import Client, identifier

SCHEMA = "envctl"

_RESULTS = ("trigger", "event_trigger")
_NEEDED = """
SELECT proname, format_type(prorettype, NULL) FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace
WHERE nspname = %s AND pronargs = 0 AND format_type(prorettype, NULL) IN ('trigger', 'event_trigger') ORDER BY 1"""
_EVENT_TRIGGERS = """
SELECT evtname FROM pg_event_trigger JOIN pg_proc p ON p.oid = evtfoid
JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = %s"""


def needed(session: Client) -> list[list[str]]:
    """Name and type of the functions that triggers may call."""
    return [[str(name), str(result)] for name, result in session.rows(_NEEDED, SCHEMA)]


def make(session: Client, stubs: Sequence[Sequence[str]]) -> None:
    """Make empty functions of these names and types."""
    if stubs:
        session.rows(f"CREATE SCHEMA {SCHEMA}")
    for name, result in stubs:
        kind = result if result in _RESULTS else _RESULTS[0]
        body = "BEGIN RETURN NULL; END" if kind == "trigger" else "BEGIN END"
        session.rows(f"CREATE FUNCTION {SCHEMA}.{identifier(name)}() RETURNS {kind} LANGUAGE plpgsql AS '{body}'")


def remove(session: Client) -> None:
    """Remove them, with every trigger that calls one."""
    for (name,) in session.rows(_EVENT_TRIGGERS, SCHEMA):  # they would be called by what follows
        session.rows(f"DROP EVENT TRIGGER {identifier(name or '')}")
    session.rows(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
