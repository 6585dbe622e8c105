-- When it is to be done, and what came of it.

CREATE DOMAIN cron AS text CHECK (array_length(regexp_split_to_array(VALUE, ' +'), 1) = 5);
CREATE TYPE schedule_state AS ENUM ('active', 'paused', 'retired');
CREATE TYPE run_state AS ENUM ('queued', 'running', 'succeeded', 'failed', 'cancelled');

CREATE TABLE calendars (
    id              integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organisation_id integer NOT NULL REFERENCES organisations ON DELETE CASCADE,
    name            slug NOT NULL,
    timezone        text NOT NULL DEFAULT 'UTC',
    UNIQUE (organisation_id, name)
);

CREATE TABLE calendar_days (
    calendar_id integer NOT NULL REFERENCES calendars ON DELETE CASCADE,
    day         date NOT NULL,
    reason      text NOT NULL,
    PRIMARY KEY (calendar_id, day)
);

CREATE TABLE schedules (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        slug NOT NULL UNIQUE,
    workflow_id integer NOT NULL REFERENCES workflows ON DELETE CASCADE,
    calendar_id integer REFERENCES calendars ON DELETE SET NULL,
    cron        cron NOT NULL,
    state       schedule_state NOT NULL DEFAULT 'active',
    input       jsonb NOT NULL DEFAULT '{}',
    next_at     timestamptz,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CHECK (state <> 'active' OR next_at IS NOT NULL)
);
CREATE INDEX schedules_due ON schedules (next_at) WHERE state = 'active';
CREATE TRIGGER schedules_touch BEFORE UPDATE ON schedules FOR EACH ROW EXECUTE FUNCTION touch();

-- A schedule cannot be paused twice at the same time.
CREATE TABLE schedule_pauses (
    id          serial PRIMARY KEY,
    schedule_id integer NOT NULL REFERENCES schedules ON DELETE CASCADE,
    during      tstzrange NOT NULL,
    reason      text NOT NULL,
    EXCLUDE USING gist (schedule_id WITH =, during WITH &&)
);

CREATE TABLE runs (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workflow_id integer NOT NULL REFERENCES workflows ON DELETE CASCADE,
    version_id  integer NOT NULL REFERENCES workflow_versions ON DELETE CASCADE,
    schedule_id integer REFERENCES schedules ON DELETE SET NULL,
    retry_of    bigint REFERENCES runs ON DELETE SET NULL,
    state       run_state NOT NULL DEFAULT 'queued',
    input       jsonb NOT NULL DEFAULT '{}',
    queued_at   timestamptz NOT NULL DEFAULT now(),
    started_at  timestamptz,
    finished_at timestamptz,
    duration    interval GENERATED ALWAYS AS (finished_at - started_at) STORED,
    CHECK (finished_at >= started_at)
);
CREATE INDEX runs_by_workflow ON runs (workflow_id, queued_at DESC);

CREATE TABLE run_steps (
    run_id      bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    step_id     integer NOT NULL REFERENCES steps ON DELETE CASCADE,
    state       run_state NOT NULL DEFAULT 'queued',
    attempts    smallint NOT NULL DEFAULT 1,
    started_at  timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (run_id, step_id)
);

CREATE TABLE run_attempts (
    run_id  bigint NOT NULL,
    step_id integer NOT NULL,
    number  smallint NOT NULL,
    error   text,
    PRIMARY KEY (run_id, step_id, number),
    FOREIGN KEY (run_id, step_id) REFERENCES run_steps ON DELETE CASCADE
);

-- Lines as they come: nothing to tell them apart by.
CREATE TABLE run_logs (
    run_id    bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    logged_at timestamptz NOT NULL DEFAULT now(),
    line      text NOT NULL
);
CREATE INDEX run_logs_of_run ON run_logs (run_id, logged_at);

CREATE TABLE artifacts (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    run_id     bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    name       text NOT NULL,
    media_type text NOT NULL DEFAULT 'application/octet-stream',
    content    bytea NOT NULL,
    size       integer GENERATED ALWAYS AS (octet_length(content)) STORED,
    UNIQUE (run_id, name)
);

CREATE SEQUENCE ticket_numbers START 1000;

CREATE TABLE approvals (
    ticket     text PRIMARY KEY DEFAULT 'T-' || nextval('ticket_numbers'),
    run_id     bigint NOT NULL REFERENCES runs ON DELETE CASCADE,
    step_id    integer NOT NULL REFERENCES steps ON DELETE CASCADE,
    decided_by integer REFERENCES users ON DELETE SET NULL,
    granted    boolean
);
ALTER SEQUENCE ticket_numbers OWNED BY approvals.ticket;

CREATE TABLE events (
    id          bigint GENERATED ALWAYS AS IDENTITY,
    happened_at timestamptz NOT NULL DEFAULT now(),
    run_id      bigint REFERENCES runs ON DELETE CASCADE,
    kind        text NOT NULL,
    payload     jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (id, happened_at)
) PARTITION BY RANGE (happened_at);
CREATE TABLE events_2026_02 PARTITION OF events FOR VALUES FROM ('2026-02-01Z') TO ('2026-03-01Z');
CREATE TABLE events_2026_03 PARTITION OF events FOR VALUES FROM ('2026-03-01Z') TO ('2026-04-01Z');
CREATE TABLE events_later PARTITION OF events DEFAULT;

CREATE TABLE webhook_deliveries (
    id         serial PRIMARY KEY,
    webhook_id integer NOT NULL REFERENCES webhooks ON DELETE CASCADE,
    run_id     bigint REFERENCES runs ON DELETE CASCADE,
    status     smallint,
    body       jsonb NOT NULL
);

CREATE VIEW due_schedules AS
    SELECT schedules.*, workflows.name AS workflow, workflows.queue
      FROM schedules JOIN workflows ON workflows.id = workflow_id
     WHERE state = 'active';

CREATE MATERIALIZED VIEW run_statistics AS
    SELECT workflow_id,
           count(*) AS runs,
           count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
           count(*) FILTER (WHERE state = 'failed') AS failed,
           avg(duration) AS mean_duration
      FROM runs
     GROUP BY workflow_id;
CREATE UNIQUE INDEX run_statistics_of ON run_statistics (workflow_id);
