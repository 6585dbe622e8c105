-- What a database carries that knows its baseline, all of it in the schema `envctl`.
--
-- * A trigger on every table, once per statement, notes that the table was touched. A note is a plain row in a table
--   without any constraint, so that no transaction ever waits for another one because of it.
-- * Whoever wrote anything holds some lock on `touched` until its transaction ends. So a reset needs one exclusive
--   lock, on `touched`, to know that nobody is in the middle of a change, and needs none on the tables.
-- * A row whose xmin is older than the baseline is as it was then. Of a table that was touched only other rows are
--   removed, and of the baseline's rows only those that are missing are put in again.
-- * Event triggers note every change of the schema; that is answered by a copy of the template, not here.
--
-- Tables are named by regclass everywhere: then all this also holds in a database that was dumped and read back.

CREATE SCHEMA envctl;

-- `copy_ms`: how long a copy of the whole takes; `slow`: how many resets in a row took much longer than that.
CREATE TABLE envctl.meta (
    template text NOT NULL, strategy text NOT NULL, why text NOT NULL, version integer NOT NULL,
    copy_ms double precision, slow integer NOT NULL DEFAULT 0
);

-- One row that tells its own place: it does not in a copy that was dumped and read back, whose rows are all new.
CREATE TABLE envctl.marker (self xid NOT NULL, place oid NOT NULL);

-- One row, which is gone after a crash of the server, as the notes are then.
CREATE UNLOGGED TABLE envctl.alive (yes boolean NOT NULL) WITH (autovacuum_enabled = off);

-- `what` is a change of the schema; without it, rows of `rel` were written; `many`: without a note of their keys.
CREATE UNLOGGED TABLE envctl.touched (rel regclass, what text, many boolean) WITH (autovacuum_enabled = off);

-- `key`: rows can be told apart by it. `keys`: the table where they are noted. `source`: a query for the baseline's
-- rows. `hush`, `unhush`: statements
-- around a change for which no trigger and no rule may fire.
CREATE TABLE envctl.relation (
    rel regclass PRIMARY KEY, kind "char" NOT NULL, populated boolean NOT NULL, rows bigint NOT NULL,
    name text NOT NULL, columns text NOT NULL, key text, keys text, source text, hush text, unhush text
);
-- Which tables hold what is written to a table: itself, its partitions, its heirs.
CREATE TABLE envctl.member (rel regclass NOT NULL, part regclass NOT NULL);
CREATE INDEX ON envctl.member (rel);
-- Rows that `own` wrote, or anybody before `horizon`, are the baseline's.
CREATE TABLE envctl.clean (rel regclass PRIMARY KEY, horizon xid, own xid NOT NULL) WITH (fillfactor = 50);
-- The rows of all small tables, as text: a table for each would double the files of every copy of this database.
CREATE TABLE envctl.pile (rel regclass NOT NULL, data text NOT NULL) WITH (autovacuum_enabled = off);
CREATE INDEX ON envctl.pile (rel);
CREATE TABLE envctl.sequence (seq regclass NOT NULL, last bigint NOT NULL, called boolean NOT NULL);
CREATE TABLE envctl.large (loid oid PRIMARY KEY, owner name NOT NULL, acl text);
CREATE TABLE envctl.page (loid oid NOT NULL, pageno integer NOT NULL, data bytea NOT NULL);
CREATE INDEX ON envctl.page (loid);

-- Only a transaction with a snapshot for each statement can trust a note it sees; in others it may be gone already.
CREATE FUNCTION envctl.touch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_OP OPERATOR(pg_catalog.=) 'TRUNCATE' THEN
        INSERT INTO envctl.touched (rel, many) VALUES (TG_RELID, true);
    ELSIF NOT EXISTS (SELECT FROM envctl.touched t WHERE t.rel OPERATOR(pg_catalog.=) TG_RELID)
        OR pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.<>) 'read committed'
    THEN
        INSERT INTO envctl.touched (rel) VALUES (TG_RELID);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION envctl.note_command() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO envctl.touched (rel, what)
        SELECT CASE WHEN command_tag = 'REFRESH MATERIALIZED VIEW' THEN objid END,
            CASE WHEN command_tag <> 'REFRESH MATERIALIZED VIEW' THEN concat_ws(' ', command_tag, object_identity) END
        FROM pg_event_trigger_ddl_commands()
        WHERE command_tag <> 'REINDEX' AND coalesce(schema_name, '') NOT LIKE 'pg\_temp%';
    IF TG_TAG IN ('DROP OWNED', 'REASSIGN OWNED') THEN
        INSERT INTO envctl.touched (what) VALUES (TG_TAG);
    END IF;
END $$;

CREATE FUNCTION envctl.note_drop() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO envctl.touched (what)
        SELECT concat_ws(' ', 'DROP', upper(object_type), object_identity)
        FROM pg_event_trigger_dropped_objects() WHERE original AND NOT is_temporary;
END $$;

-- The tables and views whose content is told by the baseline.
CREATE VIEW envctl.present AS
    SELECT c.oid, c.relkind, c.relispopulated, format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm', 'S') AND c.relpersistence <> 't'
        AND n.nspname NOT IN ('envctl', 'information_schema') AND n.nspname NOT LIKE 'pg\_%';

-- Gives triggers to so many tables that have none yet; how many it were.
CREATE FUNCTION envctl.arm(most integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    one text;
    done integer := 0;
BEGIN
    FOR one IN
        SELECT p.name FROM envctl.present p WHERE p.relkind IN ('r', 'p') AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = p.oid AND t.tgfoid = 'envctl.touch'::regproc
        ) ORDER BY p.oid LIMIT most
    LOOP
        EXECUTE format('CREATE TRIGGER envctl_touch BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s'
                       ' FOR EACH STATEMENT EXECUTE FUNCTION envctl.touch()', one);
        EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER envctl_touch', one);
        done := done + 1;
    END LOOP;
    RETURN done;
END $$;

-- The best of a table's unique keys, or NULL.
CREATE FUNCTION envctl.index_of_key(table_ oid) RETURNS oid LANGUAGE sql STABLE AS $$
    SELECT u.indexrelid FROM pg_catalog.pg_index u JOIN pg_catalog.pg_class r ON r.oid = u.indexrelid
        JOIN pg_catalog.pg_am m ON m.oid = r.relam
    WHERE u.indrelid = table_ AND u.indisunique AND u.indimmediate AND u.indisvalid AND NOT u.indisexclusion
        AND u.indpred IS NULL AND u.indexprs IS NULL AND m.amname = 'btree' AND NOT EXISTS (
            SELECT FROM unnest(u.indkey::int2[], u.indcollation::oid[]) WITH ORDINALITY AS e(attnum, collation_, place)
            JOIN pg_catalog.pg_attribute x ON x.attrelid = u.indrelid AND x.attnum = e.attnum
            WHERE e.place <= u.indnkeyatts
                AND (NOT x.attnotnull OR x.attgenerated <> '' OR e.collation_ <> x.attcollation)
        )
    ORDER BY u.indisprimary DESC, u.indnkeyatts, u.indexrelid LIMIT 1
$$;

-- How rows of a table can be told apart: `t.a = b.a AND …` over that key, or NULL.
CREATE FUNCTION envctl.key_of(table_ oid) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT string_agg(
        format('t.%I OPERATOR(%I.%s) b.%I', a.attname, o.nspname, o.oprname, a.attname), ' AND ' ORDER BY k.place)
    FROM pg_catalog.pg_index i
    CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[]) WITH ORDINALITY AS k(attnum, opclass, place)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    JOIN pg_catalog.pg_opclass c ON c.oid = k.opclass
    JOIN LATERAL (
        SELECT n.nspname, p.oprname FROM pg_catalog.pg_amop s JOIN pg_catalog.pg_operator p ON p.oid = s.amopopr
            JOIN pg_catalog.pg_namespace n ON n.oid = p.oprnamespace
        WHERE s.amopfamily = c.opcfamily AND s.amopstrategy = 3
            AND s.amoplefttype = c.opcintype AND s.amoprighttype = c.opcintype
    ) o ON true
    WHERE k.place <= i.indnkeyatts AND i.indexrelid = envctl.index_of_key(table_)
$$;

-- Statements that keep the triggers and rules of a table silent that fire even for a replica, and undo that.
CREATE FUNCTION envctl.hush_of(table_ oid, name text, OUT hush text, OUT unhush text) LANGUAGE sql STABLE AS $$
    SELECT string_agg(format('ALTER TABLE ONLY %s DISABLE %s', name, what), '; ' ORDER BY what),
        string_agg(format('ALTER TABLE ONLY %s ENABLE %s %s', name, w.mode, what), '; ' ORDER BY what)
    FROM (
        SELECT format('TRIGGER %I', tgname) AS what, tgenabled AS enabled FROM pg_catalog.pg_trigger
            WHERE tgrelid = table_ AND tgfoid NOT IN (SELECT oid FROM pg_catalog.pg_proc
                WHERE pronamespace = 'envctl'::regnamespace)
        UNION ALL
        SELECT format('RULE %I', rulename), ev_enabled FROM pg_catalog.pg_rewrite
            WHERE ev_class = table_ AND ev_type <> '1'
    ) found JOIN (VALUES ('A'::"char", 'ALWAYS'), ('R'::"char", 'REPLICA')) w(letter, mode) ON w.letter = found.enabled
$$;

CREATE FUNCTION envctl.state_of(seq regclass, OUT last bigint, OUT called boolean) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SELECT last_value, is_called FROM %s', seq) INTO last, called;
END $$;

-- Whether everything in `touched` is known, and the baseline's rows are told apart, from now on.
CREATE FUNCTION envctl.mark() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM envctl.marker;
    INSERT INTO envctl.marker VALUES (pg_current_xact_id()::xid, 'envctl.marker'::regclass);
    DELETE FROM envctl.alive;
    INSERT INTO envctl.alive VALUES (true);
    TRUNCATE envctl.touched;
    PERFORM envctl.forget_keys(keys) FROM envctl.noted;
END $$;

-- Remembers all rows, sequences and large objects. Nobody can write meanwhile.
CREATE FUNCTION envctl.remember(most_rows bigint, most_bytes bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    one record;
    several text;
    found bigint;
    number integer := 0;
    keys_ text;
    indexed_ text;
    now_ xid;
BEGIN
    LOCK TABLE envctl.touched IN ACCESS EXCLUSIVE MODE;
    FOR one IN
        SELECT p.*, h.*, envctl.key_of(p.oid) AS key, l.columns, l.picked FROM envctl.present p
        CROSS JOIN LATERAL envctl.hush_of(p.oid, p.name) h
        CROSS JOIN LATERAL (
            SELECT coalesce(string_agg(quote_ident(attname), ', ' ORDER BY attnum), '') AS columns,
                coalesce(string_agg(format('(r).%I', attname), ', ' ORDER BY attnum), '') AS picked
            FROM pg_catalog.pg_attribute
            WHERE attrelid = p.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
        ) l
        WHERE p.relkind IN ('r', 'm') ORDER BY p.oid
    LOOP
        found := 0;
        several := NULL;
        keys_ := NULL;
        IF one.relispopulated THEN
            IF pg_catalog.pg_table_size(one.oid) <= most_bytes THEN
                EXECUTE format('SELECT count(*) FROM (SELECT FROM ONLY %s LIMIT $1) s', one.name)
                    INTO found USING most_rows + 1;
            ELSE
                found := most_rows + 1;
            END IF;
            IF found > most_rows THEN
                number := number + 1;
                several := format('envctl.copy_%s', number);
                EXECUTE format('CREATE TABLE %s WITH (autovacuum_enabled = off) AS SELECT %s FROM ONLY %s',
                               several, one.columns, one.name);
                GET DIAGNOSTICS found = ROW_COUNT;
                SELECT keys, indexed INTO keys_, indexed_ FROM envctl.noted WHERE rel = one.oid;
                IF keys_ IS NOT NULL THEN
                    EXECUTE format('CREATE INDEX ON %s (%s)', several, indexed_);
                END IF;
                EXECUTE format('ANALYZE %s', several);
                several := format('SELECT %s FROM %s', one.columns, several);
            ELSIF found > 0 THEN
                EXECUTE format('INSERT INTO envctl.pile SELECT %L, ROW(t.*)::text FROM ONLY %s t', one.oid, one.name);
                several := format('SELECT %s FROM (SELECT p.data::%s AS r FROM envctl.pile p WHERE p.rel = %L::regclass'
                                  ' OFFSET 0) s', one.picked, one.name, one.name);
            END IF;
        END IF;
        INSERT INTO envctl.relation VALUES (one.oid, one.relkind, one.relispopulated, found, one.name, one.columns,
                                            one.key, keys_, several, one.hush, one.unhush);
    END LOOP;

    INSERT INTO envctl.member
        WITH RECURSIVE down(rel, part) AS (
            SELECT oid, oid FROM envctl.present WHERE relkind <> 'S'
            UNION SELECT d.rel, i.inhrelid FROM down d JOIN pg_catalog.pg_inherits i ON i.inhparent = d.part
        ) SELECT d.rel, d.part FROM down d JOIN envctl.relation r ON r.rel = d.part;

    INSERT INTO envctl.sequence SELECT p.oid, s.last, s.called FROM envctl.present p CROSS JOIN LATERAL envctl.state_of(p.oid) s WHERE p.relkind = 'S';

    INSERT INTO envctl.large SELECT oid, pg_get_userbyid(lomowner), lomacl::text FROM pg_catalog.pg_largeobject_metadata;
    INSERT INTO envctl.page SELECT loid, pageno, data FROM pg_catalog.pg_largeobject;

    now_ := pg_snapshot_xmin(pg_current_snapshot())::xid;
    INSERT INTO envctl.clean SELECT rel, now_, '0' FROM envctl.relation;
    INSERT INTO envctl.clean VALUES ('pg_catalog.pg_largeobject', now_, '0');
    PERFORM envctl.mark();
END $$;

-- Puts back one table; whether anything had to be.
CREATE FUNCTION envctl.put_back(one envctl.relation, horizon xid, own xid, noted boolean) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    fill CONSTANT text := format('INSERT INTO %s %s OVERRIDING SYSTEM VALUE SELECT %s FROM (%s) b', one.name,
                                 '(' || nullif(one.columns, '') || ')', one.columns, one.source);
    written bigint;
BEGIN
    IF one.hush IS NOT NULL THEN
        EXECUTE one.hush;
    END IF;
    IF one.kind = 'm' THEN  -- nothing but a query may fill such a view, and a query need not give what it gave then
        UPDATE pg_catalog.pg_class SET relkind = 'r', relhasrules = false, relispopulated = true
            WHERE oid = one.rel;
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', one.name);
    END IF;
    IF noted AND envctl.few(one) THEN
        written := envctl.put_back_few(one, fill);
    ELSE
        written := envctl.put_back_rows(one, fill, age(horizon), own);
    END IF;
    IF one.keys IS NOT NULL THEN
        PERFORM envctl.forget_keys(one.keys);
    END IF;
    IF one.kind = 'm' THEN
        UPDATE pg_catalog.pg_class SET relkind = 'm', relhasrules = true, relispopulated = one.populated
            WHERE oid = one.rel;
    END IF;
    IF one.unhush IS NOT NULL THEN
        EXECUTE one.unhush;
    END IF;
    RETURN written > 0;
END $$;

-- Puts back the rows of one table, which are told apart by `xmin`; how many were written.
CREATE FUNCTION envctl.put_back_rows(one envctl.relation, fill text, since integer, own xid) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    foreign_ CONSTANT text := '($1 IS NULL OR pg_catalog.age(t.xmin) <= $1 AND t.xmin <> $2)';
    large boolean := one.rows > 5000 OR pg_relation_size(one.rel) > 1000000;
    -- Thousands of resets have left dead rows behind in a table that is small.
    bloated boolean := large AND (one.source IS NULL OR strpos(one.source, 'envctl.pile') > 0);
    all_ bigint := -1;
    kept bigint := -2;
    wrote bigint;
    written bigint := 0;
BEGIN
    IF large OR one.key IS NULL THEN
        EXECUTE format('SELECT count(*), count(*) FILTER (WHERE NOT %s) FROM ONLY %s t', foreign_, one.name)
            INTO all_, kept USING since, own;
    END IF;
    IF all_ = one.rows AND kept = one.rows THEN
        NULL;
    ELSIF large AND (bloated OR kept < all_ / 2) AND envctl.emptied(one.name) THEN
        written := 1;
        kept := 0;
    ELSIF one.key IS NULL OR one.rows = 0 THEN
        EXECUTE format('DELETE FROM ONLY %s', one.name);
        GET DIAGNOSTICS written = ROW_COUNT;
        kept := 0;
    ELSIF all_ <> kept THEN
        EXECUTE format('DELETE FROM ONLY %s t WHERE %s', one.name, foreign_) USING since, own;
        GET DIAGNOSTICS written = ROW_COUNT;
    END IF;
    IF one.rows > 0 AND kept <> one.rows THEN
        EXECUTE fill || CASE WHEN kept = 0 THEN '' ELSE
            format(' WHERE NOT EXISTS (SELECT FROM ONLY %s t WHERE %s)', one.name, one.key) END;
        GET DIAGNOSTICS wrote = ROW_COUNT;
        written := written + wrote;
    END IF;
    RETURN written;
END $$;

-- Empties a large table without leaving its rows behind, where nobody is reading it and no key refers to it.
CREATE FUNCTION envctl.emptied(name text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE NOWAIT', name);
    EXECUTE format('TRUNCATE TABLE ONLY %s', name);
    RETURN true;
EXCEPTION WHEN lock_not_available OR feature_not_supported THEN
    RETURN false;
END $$;

-- Puts back the large objects; how many it were, or NULL where their rights have changed.
CREATE FUNCTION envctl.put_back_large() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    size CONSTANT bigint := current_setting('block_size')::bigint / 4;
    changed oid[];
    one oid;
BEGIN
    PERFORM FROM envctl.large l JOIN pg_catalog.pg_largeobject_metadata m ON m.oid = l.loid
        WHERE (l.owner, l.acl) IS DISTINCT FROM (pg_get_userbyid(m.lomowner), m.lomacl::text);
    IF FOUND THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(loid) INTO changed FROM (
        SELECT coalesce(l.loid, m.oid) AS loid
            FROM envctl.large l FULL JOIN pg_catalog.pg_largeobject_metadata m ON m.oid = l.loid
            WHERE l.loid IS NULL OR m.oid IS NULL
        UNION
        SELECT coalesce(b.loid, t.loid) FROM (
            SELECT loid, count(*) AS pages FROM envctl.page GROUP BY 1) b
            FULL JOIN (
                SELECT t.loid, count(*) AS pages,
                    bool_or(c.horizon IS NULL OR age(t.xmin) <= age(c.horizon) AND t.xmin <> c.own) AS newer
                FROM pg_catalog.pg_largeobject t
                JOIN envctl.clean c ON c.rel = 'pg_catalog.pg_largeobject'::regclass GROUP BY 1
            ) t ON t.loid = b.loid
            WHERE b.pages IS DISTINCT FROM t.pages OR t.newer
    ) s;
    IF EXISTS (
        SELECT FROM envctl.large l WHERE l.loid = ANY (changed) AND l.acl IS NOT NULL
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid = l.loid)
    ) THEN
        RETURN NULL;
    END IF;
    FOREACH one IN ARRAY coalesce(changed, '{}') LOOP
        IF NOT EXISTS (SELECT FROM envctl.large l WHERE l.loid = one) THEN
            PERFORM lo_unlink(one);
            CONTINUE;
        END IF;
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid = one) THEN
            PERFORM lo_create(one);
            EXECUTE (SELECT format('ALTER LARGE OBJECT %s OWNER TO %I', one, l.owner)
                     FROM envctl.large l WHERE l.loid = one);
        END IF;
        DECLARE
            handle integer := lo_open(one, 131072);
        BEGIN
            PERFORM lo_truncate(handle, 0);
            PERFORM lo_close(handle);
        END;
        PERFORM lo_put(one, p.pageno * size, p.data) FROM envctl.page p WHERE p.loid = one ORDER BY p.pageno;
    END LOOP;
    RETURN cardinality(coalesce(changed, '{}'));
END $$;

-- Goes back to the baseline. 'done', or 'template' and nothing was changed: only a copy of the template can do it.
CREATE FUNCTION envctl.reset(OUT outcome text, OUT changed integer, OUT note text) LANGUAGE plpgsql AS $$
DECLARE
    now_ xid;
    own_ xid;
    copied boolean;
    lost boolean;
    larges integer := 0;
    parts regclass[];
    one record;
BEGIN
    outcome := 'done';
    changed := 0;
    note := '';
    LOCK TABLE envctl.touched IN ACCESS EXCLUSIVE MODE;  -- from here on nobody is in the middle of a change
    SELECT string_agg(what, '; ') INTO note FROM (
        SELECT DISTINCT what FROM envctl.touched WHERE what IS NOT NULL ORDER BY 1 LIMIT 3) s;
    IF note IS NOT NULL THEN
        outcome := 'template';
        note := 'the schema had changed: ' || note;
        RETURN;
    END IF;
    note := '';
    lost := NOT EXISTS (SELECT FROM envctl.alive);
    copied := NOT EXISTS (SELECT FROM envctl.marker WHERE xmin = self AND tableoid = place);
    -- In arrays: nobody has counted the rows of `touched`, and joined with it all tables' rows would be read.
    parts := ARRAY(SELECT DISTINCT rel FROM envctl.touched WHERE rel IS NOT NULL);
    IF lost THEN
        parts := ARRAY(SELECT rel FROM envctl.relation);
    ELSIF parts <> '{}' THEN
        parts := ARRAY(SELECT DISTINCT part FROM envctl.member WHERE rel = ANY (parts));
    END IF;
    IF copied OR parts <> '{}' THEN
        now_ := pg_snapshot_xmin(pg_current_snapshot())::xid;
        own_ := pg_current_xact_id()::xid;
        PERFORM set_config('envctl.resetting', 'on', true);
        FOR one IN
            SELECT r AS relation, CASE WHEN NOT copied THEN c.horizon END AS horizon, c.own
            FROM envctl.relation r JOIN envctl.clean c ON c.rel = r.rel
            WHERE r.rel = ANY (parts) ORDER BY r.kind DESC, r.rel
        LOOP
            IF envctl.put_back(one.relation, one.horizon, one.own, NOT (lost OR copied)) THEN
                changed := changed + 1;
            END IF;
        END LOOP;
        IF copied THEN
            UPDATE envctl.clean SET horizon = now_, own = own_;
        ELSE
            UPDATE envctl.clean SET horizon = now_, own = own_ WHERE rel = ANY (parts);
        END IF;
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata) OR EXISTS (SELECT FROM envctl.large) THEN
        larges := envctl.put_back_large();
        IF larges IS NULL THEN
            RAISE EXCEPTION 'the rights of large objects had changed' USING ERRCODE = 'ENV01';
        END IF;
        IF larges > 0 THEN
            UPDATE envctl.clean SET horizon = pg_snapshot_xmin(pg_current_snapshot())::xid,
                own = pg_current_xact_id()::xid WHERE rel = 'pg_catalog.pg_largeobject'::regclass;
        END IF;
    END IF;
    IF lost OR copied THEN
        PERFORM envctl.mark();
    ELSIF pg_relation_size('envctl.touched') > 32768 THEN
        TRUNCATE envctl.touched;
    ELSE
        DELETE FROM envctl.touched;
    END IF;
    -- Last, because it is not undone if anything fails. Of all sequences: no note tells that one was moved, by a call or
    -- by what was rolled back.
    PERFORM setval(s.seq, s.last, s.called) FROM envctl.sequence s WHERE {changed};
    changed := changed + larges;
END $$;
