"""The registry's tables and how older ones become the newest."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

VERSION = 4

APPLICATION_ID = 0x656E7663  # "envc": tells our file from any other SQLite file

_TABLES = """
CREATE TABLE meta (
  key TEXT PRIMARY KEY NOT NULL,
  value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE stacks (
  id TEXT PRIMARY KEY NOT NULL,
  project TEXT NOT NULL UNIQUE,
  engine TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  host TEXT NOT NULL,
  publish_address TEXT NOT NULL,
  credentials TEXT NOT NULL DEFAULT '{}',
  created_at REAL NOT NULL,
  details TEXT NOT NULL DEFAULT '{}'
) WITHOUT ROWID;

CREATE TABLE environments (
  name TEXT PRIMARY KEY NOT NULL,
  key TEXT NOT NULL UNIQUE,
  project TEXT NOT NULL,
  branch TEXT NOT NULL,
  checkout TEXT NOT NULL,
  label TEXT NOT NULL,
  config_file TEXT,
  state TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'degraded', 'stopped', 'removing', 'down')),
  stack_id TEXT NOT NULL UNIQUE REFERENCES stacks (id),
  created_at REAL NOT NULL,
  expires_at REAL,
  last_used_at REAL NOT NULL,
  owner_boot_id TEXT NOT NULL,
  owner_pid INTEGER NOT NULL,
  owner_start_ticks INTEGER NOT NULL,
  ephemeral INTEGER NOT NULL DEFAULT 0 CHECK (ephemeral IN (0, 1)),
  details TEXT NOT NULL DEFAULT '{}'
) WITHOUT ROWID;
CREATE INDEX environments_by_checkout ON environments (checkout, branch, label);

-- held: of a stack. quarantined: the engine could not have it. reserved: kept for `project` while it is down.
CREATE TABLE port_leases (
  scope TEXT NOT NULL,
  port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
  state TEXT NOT NULL CHECK (state IN ('held', 'quarantined', 'reserved')),
  stack_id TEXT REFERENCES stacks (id),
  project TEXT NOT NULL DEFAULT '',
  service TEXT NOT NULL DEFAULT '',
  port_name TEXT NOT NULL DEFAULT '',
  container_port INTEGER NOT NULL DEFAULT 0,
  fixed INTEGER NOT NULL DEFAULT 0 CHECK (fixed IN (0, 1)),
  until REAL,
  PRIMARY KEY (scope, port),
  CHECK ((state = 'held') = (stack_id IS NOT NULL)),
  CHECK ((state = 'held') = (until IS NULL))
) WITHOUT ROWID;
CREATE UNIQUE INDEX port_leases_by_stack ON port_leases (stack_id, service, port_name) WHERE stack_id IS NOT NULL;

CREATE TABLE subnet_leases (
  scope TEXT NOT NULL,
  subnet TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('held', 'quarantined')),
  stack_id TEXT UNIQUE REFERENCES stacks (id),
  until REAL,
  PRIMARY KEY (scope, subnet),
  CHECK ((state = 'held') = (stack_id IS NOT NULL)),
  CHECK ((state = 'held') = (until IS NULL))
) WITHOUT ROWID;
"""

# expires_boot_*: the same moment on the clock that counts from the machine's start, which nobody can set.
_SESSIONS = """
ALTER TABLE environments ADD COLUMN branch_source TEXT NOT NULL DEFAULT '';
ALTER TABLE environments ADD COLUMN checkout_mark TEXT NOT NULL DEFAULT '';
ALTER TABLE environments ADD COLUMN ttl_s REAL;
ALTER TABLE environments ADD COLUMN expires_boot_id TEXT NOT NULL DEFAULT '';
ALTER TABLE environments ADD COLUMN expires_boot_s REAL;

CREATE TABLE sessions (
  id TEXT PRIMARY KEY NOT NULL,
  environment TEXT NOT NULL REFERENCES environments (name) ON DELETE CASCADE,
  purpose TEXT NOT NULL,
  slot INTEGER NOT NULL CHECK (slot > 0),
  owner_boot_id TEXT NOT NULL,
  owner_pid INTEGER NOT NULL,
  owner_start_ticks INTEGER NOT NULL,
  began_at REAL NOT NULL,
  UNIQUE (environment, slot)
) WITHOUT ROWID;
"""

# The state `dirty`. SQLite can change a CHECK only by making the table anew; to drop one that another table refers to
# would delete the rows of that too, so the sessions stand aside meanwhile.
_DIRTY = """
CREATE TABLE sessions_before AS SELECT * FROM sessions;
DROP TABLE sessions;
DROP INDEX environments_by_checkout;
ALTER TABLE environments RENAME TO environments_before;

CREATE TABLE environments (
  name TEXT PRIMARY KEY NOT NULL,
  key TEXT NOT NULL UNIQUE,
  project TEXT NOT NULL,
  branch TEXT NOT NULL,
  checkout TEXT NOT NULL,
  label TEXT NOT NULL,
  config_file TEXT,
  state TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'dirty', 'degraded', 'stopped', 'removing', 'down')),
  stack_id TEXT NOT NULL UNIQUE REFERENCES stacks (id),
  created_at REAL NOT NULL,
  expires_at REAL,
  last_used_at REAL NOT NULL,
  owner_boot_id TEXT NOT NULL,
  owner_pid INTEGER NOT NULL,
  owner_start_ticks INTEGER NOT NULL,
  ephemeral INTEGER NOT NULL DEFAULT 0 CHECK (ephemeral IN (0, 1)),
  details TEXT NOT NULL DEFAULT '{}',
  branch_source TEXT NOT NULL DEFAULT '',
  checkout_mark TEXT NOT NULL DEFAULT '',
  ttl_s REAL,
  expires_boot_id TEXT NOT NULL DEFAULT '',
  expires_boot_s REAL
) WITHOUT ROWID;
INSERT INTO environments SELECT * FROM environments_before;
DROP TABLE environments_before;
CREATE INDEX environments_by_checkout ON environments (checkout, branch, label);

CREATE TABLE sessions (
  id TEXT PRIMARY KEY NOT NULL,
  environment TEXT NOT NULL REFERENCES environments (name) ON DELETE CASCADE,
  purpose TEXT NOT NULL,
  slot INTEGER NOT NULL CHECK (slot > 0),
  owner_boot_id TEXT NOT NULL,
  owner_pid INTEGER NOT NULL,
  owner_start_ticks INTEGER NOT NULL,
  began_at REAL NOT NULL,
  UNIQUE (environment, slot)
) WITHOUT ROWID;
INSERT INTO sessions SELECT * FROM sessions_before;
DROP TABLE sessions_before;
"""

# Numbers that were given away beside those of sessions, such as those of Redis databases: no slot is one of them.
_LENT = """
CREATE TABLE lent_numbers (
  environment TEXT NOT NULL REFERENCES environments (name) ON DELETE CASCADE,
  service TEXT NOT NULL,
  number INTEGER NOT NULL CHECK (number > 0),
  name TEXT NOT NULL,
  made_for TEXT NOT NULL,
  session TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (environment, service, number),
  UNIQUE (environment, service, name)
) WITHOUT ROWID;
"""

MIGRATIONS: Mapping[int, str] = {0: _TABLES, 1: _SESSIONS, 2: _DIRTY, 3: _LENT}
"""Version → the statements that make it the next version. Version 0 is an empty file."""


def migrate(connection: sqlite3.Connection, found: int) -> None:
    """Brings the tables from version `found` to the newest; to be called within a transaction."""
    for version in range(found, VERSION):
        for statement in _statements(MIGRATIONS[version]):
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _statements(script: str) -> list[str]:
    """One by one, because `executescript` would end the transaction."""
    return [statement for statement in script.split(";\n") if statement.strip()]
