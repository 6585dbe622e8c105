-- What is to be done: workflows, made of steps that depend on each other.

CREATE TYPE step_kind AS ENUM ('http', 'shell', 'sql', 'email', 'wait', 'approval');

CREATE TABLE projects (
    id              integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organisation_id integer NOT NULL REFERENCES organisations ON DELETE CASCADE,
    owner_team_id   integer REFERENCES teams ON DELETE SET NULL,
    name            slug NOT NULL,
    settings        jsonb NOT NULL DEFAULT '{"retention_days": 30}',
    UNIQUE (organisation_id, name)
);

CREATE TABLE stages (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    name       slug NOT NULL,
    protected  boolean NOT NULL DEFAULT false,
    UNIQUE (project_id, name)
);

CREATE TABLE variables (
    stage_id integer NOT NULL REFERENCES stages ON DELETE CASCADE,
    name     text NOT NULL CHECK (name ~ '^[A-Z][A-Z0-9_]*$'),
    value    text NOT NULL,
    PRIMARY KEY (stage_id, name)
);

CREATE TABLE secrets (
    stage_id   integer NOT NULL REFERENCES stages ON DELETE CASCADE,
    name       text NOT NULL,
    sealed     bytea NOT NULL,
    rotated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stage_id, name)
);
ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
CREATE POLICY secrets_of_open_stages ON secrets
    USING (stage_id IN (SELECT id FROM stages WHERE NOT protected));

CREATE TABLE queues (
    name        slug PRIMARY KEY,
    concurrency integer NOT NULL DEFAULT 4 CHECK (concurrency > 0)
);

CREATE TABLE workers (
    id        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue     slug NOT NULL REFERENCES queues ON UPDATE CASCADE,
    host      text NOT NULL,
    labels    text[] NOT NULL DEFAULT '{}',
    beat_at   timestamptz
);

CREATE TABLE workflows (
    id                 integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id         integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    name               slug NOT NULL UNIQUE,
    queue              slug NOT NULL DEFAULT 'default' REFERENCES queues ON UPDATE CASCADE,
    current_version_id integer,  -- one of its versions; they refer to each other, so the constraint comes below
    tags               text[] NOT NULL DEFAULT '{}',
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE workflow_versions (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workflow_id  integer NOT NULL REFERENCES workflows ON DELETE CASCADE,
    number       integer NOT NULL CHECK (number > 0),
    author_id    integer REFERENCES users ON DELETE SET NULL,
    definition   jsonb NOT NULL DEFAULT '{}',
    published_at timestamptz,
    UNIQUE (workflow_id, number)
);
CREATE INDEX workflow_versions_definition ON workflow_versions USING gin (definition);

ALTER TABLE workflows ADD CONSTRAINT workflows_current_version
    FOREIGN KEY (current_version_id) REFERENCES workflow_versions ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED;

CREATE TABLE steps (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version_id integer NOT NULL REFERENCES workflow_versions ON DELETE CASCADE,
    name       slug NOT NULL,
    kind       step_kind NOT NULL,
    timeout    interval NOT NULL DEFAULT '5 minutes',
    retries    smallint NOT NULL DEFAULT 0 CHECK (retries BETWEEN 0 AND 10),
    UNIQUE (version_id, name)
);

CREATE TABLE step_parameters (
    step_id integer NOT NULL REFERENCES steps ON DELETE CASCADE,
    name    text NOT NULL,
    value   jsonb NOT NULL,
    PRIMARY KEY (step_id, name)
);

CREATE TABLE step_edges (
    from_step_id integer NOT NULL REFERENCES steps ON DELETE CASCADE,
    to_step_id   integer NOT NULL REFERENCES steps ON DELETE CASCADE,
    condition    text NOT NULL DEFAULT 'succeeded',
    PRIMARY KEY (from_step_id, to_step_id),
    CHECK (from_step_id <> to_step_id)
);

CREATE TABLE webhooks (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id integer NOT NULL REFERENCES projects ON DELETE CASCADE,
    url        text NOT NULL CHECK (url LIKE 'https://%'),
    events     text[] NOT NULL,
    enabled    boolean NOT NULL DEFAULT true
);

CREATE TABLE notification_rules (
    id          serial PRIMARY KEY,
    workflow_id integer NOT NULL REFERENCES workflows ON DELETE CASCADE,
    user_id     integer NOT NULL REFERENCES users ON DELETE CASCADE,
    on_state    text NOT NULL DEFAULT 'failed',
    UNIQUE (workflow_id, user_id, on_state)
);

CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;

CREATE TRIGGER workflows_touch BEFORE UPDATE ON workflows FOR EACH ROW EXECUTE FUNCTION touch();
