-- Who changed what. Schema `audit` is written by triggers alone.

CREATE SCHEMA audit;

CREATE TABLE audit.actors (
    id   smallserial PRIMARY KEY,
    name text NOT NULL UNIQUE
);

CREATE TABLE audit.log (
    id         bigserial PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor      text NOT NULL DEFAULT coalesce(nullif(current_setting('scheduler.actor', true), ''), 'system'),
    table_name name NOT NULL,
    operation  text NOT NULL,
    row_before jsonb,
    row_after  jsonb
);

-- What is older than a year moves there: the same columns, found by SELECT … FROM audit.log too.
CREATE TABLE audit.log_archive (
    archived_at timestamptz NOT NULL DEFAULT now()
) INHERITS (audit.log);

CREATE TABLE audit.retention (
    table_name name PRIMARY KEY,
    keep       interval NOT NULL
);

CREATE FUNCTION audit.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit.log (table_name, operation, row_before, row_after) VALUES (
        TG_TABLE_NAME, TG_OP,
        CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
        CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END
    );
    RETURN NULL;
END $$;

CREATE TRIGGER schedules_audit AFTER INSERT OR UPDATE OR DELETE ON schedules
    FOR EACH ROW EXECUTE FUNCTION audit.note();
CREATE TRIGGER workflows_audit AFTER INSERT OR UPDATE OR DELETE ON workflows
    FOR EACH ROW EXECUTE FUNCTION audit.note();
