-- The tables of registry version 1, as envctl 0.1 made them. Never changed.
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
PRAGMA application_id = 1701738083;
PRAGMA user_version = 1;
