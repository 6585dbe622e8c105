"""All that a Postgres database holds, in a form that can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from envctl.model import Connection


def checksums(connection: Connection) -> dict[str, Any]:
    """All that a database holds: rows, sequences, large objects, and the shape of its schema."""
    with psycopg.connect(connection.url, autocommit=True) as link:
        link.execute("SET search_path = ''; SET timezone = 'Asia/Tokyo'")
        return dict(_checksums(link))


_OWN = "n.nspname <> 'envctl' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"


def _checksums(link: psycopg.Connection[Any]) -> Iterator[tuple[str, Any]]:
    found = link.execute(
        f"SELECT format('%I.%I', n.nspname, c.relname), relkind, relhasrules, relispopulated, relrowsecurity,"
        f" relforcerowsecurity, relowner, relacl::text, relpersistence, obj_description(c.oid, 'pg_class')"
        f" FROM pg_class c"
        f" JOIN pg_namespace n ON n.oid = relnamespace WHERE {_OWN} ORDER BY 1".encode()
    ).fetchall()
    yield "relations", found
    for name, kind, *_ in found:
        if kind == "S":
            yield name, link.execute(f"SELECT last_value, is_called FROM {name}".encode()).fetchone()
        elif kind == "r" or (kind == "m" and _[1]):
            rows = f"(SELECT ROW(t.*)::text r FROM ONLY {name} t) s"
            text = f"SELECT count(*), md5(string_agg(r, E'\\n' ORDER BY r)) FROM {rows}"
            yield name, link.execute(text.encode()).fetchone()
    others = {
        "sequences": "SELECT seqrelid, seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle FROM pg_sequence",
        "columns": f"SELECT n.nspname, c.relname, attname, attnum, atttypid::regtype::text, attnotnull"
        f" FROM pg_attribute"
        f" JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE {_OWN} AND attnum > 0",
        "triggers": f"SELECT n.nspname, c.relname, CASE WHEN tgisinternal THEN '' ELSE tgname END, tgenabled"
        f" FROM pg_trigger"
        f" JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE {_OWN}",
        "rules": f"SELECT n.nspname, c.relname, rulename, ev_enabled FROM pg_rewrite"
        f" JOIN pg_class c ON c.oid = ev_class JOIN pg_namespace n ON n.oid = relnamespace WHERE {_OWN}",
        "constraints": f"SELECT n.nspname, conname, convalidated FROM pg_constraint JOIN pg_namespace n"
        f" ON n.oid = connamespace WHERE {_OWN}",
        "functions": f"SELECT n.nspname, proname FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace WHERE {_OWN}",
        "large": "SELECT m.oid, pageno, md5(data), lomowner, lomacl::text FROM pg_largeobject_metadata m"
        " LEFT JOIN pg_largeobject l ON l.loid = m.oid",
    }
    for what, text in others.items():
        yield what, sorted(map(repr, link.execute(text.encode()).fetchall()))
