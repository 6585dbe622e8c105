-- Which rows of a large table were touched: then a reset need not read all of them to find one.
--
-- Triggers write the keys of all rows that statements have added, changed or removed into a table of their own, without
-- any constraint. What is too much to be worth it counts as "many"; so does TRUNCATE (see `touch`). Then, and wherever
-- notes may be gone, rows are told apart as in all other tables.

-- `indexed`: the key as the columns of an index. `most`: more keys than that are many.
CREATE TABLE envctl.noted (rel regclass PRIMARY KEY, keys text NOT NULL, indexed text NOT NULL, most bigint NOT NULL);

-- Gives these triggers to so many of the tables with more than so many rows; how many it were. Of the keys of a table's
-- rows, that share is many, and so is that number.
CREATE FUNCTION envctl.arm_keys(most integer, least_rows bigint, share numeric, number bigint) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    one record;
    rows bigint;
    done integer := 0;
BEGIN
    FOR one IN
        SELECT p.oid, p.name, k.* FROM envctl.present p
        JOIN pg_catalog.pg_class c ON c.oid = p.oid CROSS JOIN LATERAL envctl.columns_of_key(p.oid) k
        WHERE p.relkind = 'r' AND NOT c.relispartition AND k.columns IS NOT NULL
            AND pg_relation_size(p.oid) > least_rows * 28  -- a row takes no less
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE p.oid IN (i.inhrelid, i.inhparent))
            AND NOT EXISTS (SELECT FROM envctl.noted n WHERE n.rel = p.oid)
        ORDER BY p.oid
    LOOP
        EXIT WHEN done = most;
        EXECUTE format('SELECT count(*) FROM ONLY %s', one.name) INTO rows;
        IF rows > least_rows THEN
            done := done + 1;
            PERFORM envctl.arm_one(one.oid, one.name, one.columns, one.picked, one.indexed,
                                   least(rows * share, number)::bigint);
        END IF;
    END LOOP;
    RETURN done;
END $$;

-- The key that `key_of` has chosen: its columns, the same of a row `r`, and for an index that finds rows by it.
CREATE FUNCTION envctl.columns_of_key(table_ oid, OUT columns text, OUT picked text, OUT indexed text)
LANGUAGE sql STABLE AS $$
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.place),
        string_agg(format('r.%I', a.attname), ', ' ORDER BY k.place),
        string_agg(format('%I %I.%I', a.attname, n.nspname, c.opcname), ', ' ORDER BY k.place)
    FROM pg_catalog.pg_index i
    CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[]) WITH ORDINALITY AS k(attnum, opclass, place)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    JOIN pg_catalog.pg_opclass c ON c.oid = k.opclass JOIN pg_catalog.pg_namespace n ON n.oid = c.opcnamespace
    WHERE k.place <= i.indnkeyatts AND i.indexrelid = envctl.index_of_key(table_)
$$;

-- A statement's rows are there for its triggers only as two tables without an index, and one trigger each.
CREATE FUNCTION envctl.arm_one(table_ oid, name text, columns text, picked text, indexed text, most bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    number integer := (SELECT count(*) + 1 FROM envctl.noted);
    keys text := format('envctl.keys_%s', number);
    what text;
    seen text;
BEGIN
    INSERT INTO envctl.noted VALUES (table_, keys, indexed, most);
    EXECUTE format('CREATE UNLOGGED TABLE %s WITH (autovacuum_enabled = off) AS SELECT %s FROM ONLY %s WITH NO DATA',
                   keys, columns, name);
    EXECUTE format('CREATE FUNCTION envctl.note_keys_%s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS %L',
                   number, format($body$
        DECLARE
            noted bigint := 0;
        BEGIN
            IF pg_catalog.pg_relation_size(%1$L::pg_catalog.regclass) OPERATOR(pg_catalog.>) 1000000
                OR pg_catalog.current_setting('envctl.resetting', true) OPERATOR(pg_catalog.=) 'on'
            THEN
                RETURN NULL;
            END IF;
            IF TG_OP OPERATOR(pg_catalog.<>) 'INSERT' THEN
                INSERT INTO %1$s SELECT %2$s FROM old_ r LIMIT %4$s;
                GET DIAGNOSTICS noted = ROW_COUNT;
            END IF;
            IF TG_OP OPERATOR(pg_catalog.<>) 'DELETE' AND noted OPERATOR(pg_catalog.<=) %3$s THEN
                INSERT INTO %1$s SELECT %2$s FROM new_ r LIMIT %4$s;
                GET DIAGNOSTICS noted = ROW_COUNT;
            END IF;
            IF noted OPERATOR(pg_catalog.>) %3$s THEN
                INSERT INTO envctl.touched (rel, many) VALUES (TG_RELID, true);
            END IF;
            RETURN NULL;
        END
        $body$, keys, picked, most, most + 1));
    FOR what, seen IN VALUES ('INSERT', 'NEW TABLE AS new_'), ('DELETE', 'OLD TABLE AS old_'),
                             ('UPDATE', 'OLD TABLE AS old_ NEW TABLE AS new_') LOOP
        EXECUTE format('CREATE TRIGGER envctl_keys_%s AFTER %s ON %s REFERENCING %s FOR EACH STATEMENT'
                       ' EXECUTE FUNCTION envctl.note_keys_%s()', lower(what), what, name, seen, number);
        EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER envctl_keys_%s', name, lower(what));
    END LOOP;
END $$;

-- Whether all touched rows of a table are known by their keys, and few enough to be looked for one by one.
CREATE FUNCTION envctl.few(one envctl.relation) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    found bigint;
BEGIN
    IF one.keys IS NULL OR pg_relation_size(one.keys::regclass) > 1000000
        OR EXISTS (SELECT FROM envctl.touched t WHERE t.rel = one.rel AND t.many)
    THEN
        RETURN false;
    END IF;
    EXECUTE format('SELECT count(*) FROM %s', one.keys) INTO found;
    RETURN found <= (SELECT n.most FROM envctl.noted n WHERE n.rel = one.rel);
END $$;

-- Puts back the rows whose keys were noted; how many were written. Nobody has counted the rows of `keys`: left to
-- itself, the planner takes them for so many that it would read the large tables from one end to the other.
CREATE FUNCTION envctl.put_back_few(one envctl.relation, fill text) RETURNS bigint LANGUAGE plpgsql
    SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    removed bigint;
    added bigint;
BEGIN
    EXECUTE format('DELETE FROM ONLY %s t USING %s b WHERE %s', one.name, one.keys, one.key);
    GET DIAGNOSTICS removed = ROW_COUNT;
    EXECUTE fill || format(' WHERE EXISTS (SELECT FROM %s t WHERE %s)', one.keys, one.key);
    GET DIAGNOSTICS added = ROW_COUNT;
    RETURN removed + added;
END $$;

CREATE FUNCTION envctl.forget_keys(keys text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE CASE WHEN pg_relation_size(keys::regclass) > 32768 THEN 'TRUNCATE ' ELSE 'DELETE FROM ' END || keys;
END $$;
