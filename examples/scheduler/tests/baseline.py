"""What the migrations and fixtures bring: how every test finds the data, whatever ran before it."""

import psycopg
import redis

ROWS = {
    "api_tokens": 4,
    "approvals": 6,
    "artifacts": 10,
    "audit.actors": 3,
    "audit.log": 28,
    "audit.log_archive": 4,
    "audit.retention": 3,
    "calendar_days": 18,
    "calendars": 3,
    "events": 198,
    "migrations": 4,
    "notification_rules": 8,
    "organisations": 3,
    "permissions": 8,
    "projects": 4,
    "queues": 3,
    "role_permissions": 21,
    "roles": 4,
    "run_attempts": 30,
    "run_logs": 247,
    "run_steps": 237,
    "runs": 100,
    "schedule_pauses": 3,
    "schedules": 8,
    "secrets": 8,
    "stages": 8,
    "step_edges": 27,
    "step_parameters": 50,
    "steps": 42,
    "team_members": 12,
    "teams": 5,
    "user_roles": 12,
    "user_sessions": 6,
    "users": 12,
    "variables": 16,
    "webhook_deliveries": 10,
    "webhooks": 4,
    "workers": 6,
    "workflow_versions": 15,
    "workflows": 10,
}
"""Table → its rows; those of `audit.log` alone, without what it passes on."""

LAST = {
    "api_tokens_id_seq": 4,
    "audit.actors_id_seq": 3,
    "audit.log_id_seq": 28,
    "calendars_id_seq": 3,
    "events_id_seq": 198,
    "notification_rules_id_seq": 8,
    "organisations_id_seq": 3,
    "projects_id_seq": 4,
    "runs_id_seq": 100,
    "schedule_pauses_id_seq": 3,
    "schedules_id_seq": 8,
    "stages_id_seq": 8,
    "steps_id_seq": 42,
    "teams_id_seq": 5,
    "ticket_numbers": 1005,
    "users_id_seq": 12,
    "webhook_deliveries_id_seq": 10,
    "webhooks_id_seq": 4,
    "workers_id_seq": 6,
    "workflow_versions_id_seq": 15,
    "workflows_id_seq": 10,
}
"""Sequence → the last number it gave."""

KEYS = {
    "zone": "UTC",
    "leader": "worker-1",
    "schedule:schedule-1": {"workflow": "workflow-1", "state": "active"},
    "queue:default": ["run:100"],
    "workers:online": {"worker-1", "worker-2", "worker-3"},
    "due": {
        "schedule-1": 1775005200,
        "nightly-backup": 1775008800,
        "invoices-monthly": 1775012400,
        "churn-weekly": 1775016000,
        "digest-daily": 1775023200,
    },
    "news": [{"kind": "run.queued", "run": "99"}, {"kind": "run.queued", "run": "100"}],
}
"""Key → its value."""

TABLES = """
    SELECT format('%s%I', CASE nspname WHEN 'public' THEN '' ELSE nspname || '.' END, relname)
      FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
     WHERE nspname IN ('public', 'audit') AND relkind IN ('r', 'p') AND NOT relispartition"""

SEQUENCES = """
    SELECT CASE schemaname WHEN 'public' THEN '' ELSE schemaname || '.' END || sequencename, last_value
      FROM pg_sequences WHERE schemaname IN ('public', 'audit')"""


def contents_of(database: psycopg.Connection) -> dict[str, tuple[int, str | None]]:
    """Table, and the statistics → how many rows it has, and the checksum of all of them."""
    one = "SELECT '{0}', count(*), md5(string_agg(row::text, ';' ORDER BY row::text)) FROM {1} AS row"
    sources = {name: "ONLY audit.log" if name == "audit.log" else name for name in (*ROWS, "run_statistics")}
    query = " UNION ALL ".join(one.format(name, source) for name, source in sources.items())
    return {name: (rows, checksum) for name, rows, checksum in database.execute(query)}


def rows_of(database: psycopg.Connection) -> dict[str, int]:
    """Table → its rows."""
    contents = contents_of(database)
    return {table: contents[table][0] for table in ROWS}


def sequences_of(database: psycopg.Connection) -> dict[str, int | None]:
    """Sequence → the last number it gave."""
    return dict(database.execute(SEQUENCES))


def tables_of(database: psycopg.Connection) -> set[str]:
    """The tables there are."""
    return {table for (table,) in database.execute(TABLES)}


def keys_of(store: redis.Redis) -> dict[str, object]:
    """Key → its value."""
    readers = {
        "string": store.get,
        "hash": store.hgetall,
        "list": lambda key: store.lrange(key, 0, -1),
        "set": store.smembers,
        "zset": lambda key: dict(store.zrange(key, 0, -1, withscores=True)),
        "stream": lambda key: [fields for _, fields in store.xrange(key)],
    }
    return {key: readers[store.type(key)](key) for key in store.scan_iter()}
