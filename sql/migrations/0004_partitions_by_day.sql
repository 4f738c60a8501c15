-- The tables that grow with traffic become partitioned by UTC day, so that old days are dropped and not deleted.
--
-- A partition key belongs to every unique key, and a message that is archived again must meet the row it made. So the
-- day comes from what a message carries and never from when it was loaded: the event time of a decision and its alert,
-- the source record's own Kafka timestamp of a dead letter (0 where it had none).
--
-- Nothing is copied here: each old table becomes its new parent's DEFAULT partition, which also takes rows of days that
-- have no partition (yet). ops.roll_partitions() moves them out, day by day.

CREATE SCHEMA partitions;

ALTER TABLE raw.dead_letters ADD COLUMN received_ms bigint;
UPDATE raw.dead_letters SET received_ms = coalesce(timestamp_ms, 0);
ALTER TABLE raw.dead_letters ALTER COLUMN received_ms SET NOT NULL;

CREATE TABLE ops.partition_policy (
    table_name  text PRIMARY KEY,
    day_column  text NOT NULL,
    keep_days   integer CHECK (keep_days > 0), -- counted back from the newest day that has rows; NULL: for ever
    ahead_days  integer NOT NULL DEFAULT 2 CHECK (ahead_days >= 0)
);
INSERT INTO ops.partition_policy (table_name, day_column, keep_days) VALUES
    ('raw.decisions', 'event_time_ms', 400),
    ('raw.alerts', 'event_time_ms', 800),
    ('raw.dead_letters', 'received_ms', 90);

DO $$
DECLARE
    item record;
    views record;
BEGIN
    -- A view goes with the table it was made on, whatever that is called later: those on the old tables are made again.
    CREATE TEMPORARY TABLE views_on_raw ON COMMIT DROP AS
    SELECT DISTINCT ev_class::regclass AS name, pg_get_viewdef(ev_class) AS definition
    FROM pg_rewrite JOIN pg_depend ON pg_depend.objid = pg_rewrite.oid
    WHERE refobjid IN ('raw.decisions'::regclass, 'raw.alerts'::regclass, 'raw.dead_letters'::regclass)
        AND ev_class <> refobjid;

    FOR item IN
        SELECT * FROM (VALUES
            ('decisions', 'customer_id, transaction_id', 'event_time_ms'),
            ('alerts', 'alert_id', 'event_time_ms'),
            ('dead_letters', 'dlq_id', 'received_ms')
        ) AS t (name, identity, day_column)
    LOOP
        EXECUTE format('ALTER TABLE raw.%I DROP CONSTRAINT %I', item.name, item.name || '_pkey');
        EXECUTE format('ALTER TABLE raw.%I ADD PRIMARY KEY (%s, %I)', item.name, item.identity, item.day_column);
        EXECUTE format('ALTER TABLE raw.%I RENAME TO %I', item.name, item.name || '_default');
        EXECUTE format('ALTER TABLE raw.%I SET SCHEMA partitions', item.name || '_default');
        EXECUTE format(
            'CREATE TABLE raw.%I (LIKE partitions.%I INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING CONSTRAINTS)'
            ' PARTITION BY RANGE (%I)', item.name, item.name || '_default', item.day_column);
        EXECUTE format('ALTER TABLE raw.%I ADD PRIMARY KEY (%s, %I)', item.name, item.identity, item.day_column);
        EXECUTE format(
            'ALTER TABLE raw.%I ATTACH PARTITION partitions.%I DEFAULT', item.name, item.name || '_default');
    END LOOP;
    FOR views IN SELECT * FROM views_on_raw LOOP
        EXECUTE format('CREATE OR REPLACE VIEW %s AS %s', views.name, views.definition);
    END LOOP;
END
$$;

-- Indexes of a parent take over the equal ones of its partitions. loaded_at: the marts read what is new since last time.
CREATE INDEX decisions_event_time ON raw.decisions (event_time);
CREATE INDEX decisions_loaded_at ON raw.decisions (loaded_at);
CREATE INDEX alerts_event_time ON raw.alerts (event_time);
CREATE INDEX alerts_customer ON raw.alerts (customer_id, event_time);
CREATE INDEX alerts_loaded_at ON raw.alerts (loaded_at);
CREATE INDEX dead_letters_reason ON raw.dead_letters (reason, processing_time);
CREATE INDEX dead_letters_loaded_at ON raw.dead_letters (loaded_at);

-- The archive upserts. A row that comes again as it is, is not written again; one that changed counts as newly loaded.
CREATE FUNCTION ops.note_reload() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    -- The database's own columns: generated ones are not computed yet in a BEFORE trigger.
    own CONSTANT text[] := ARRAY['event_time', 'processing_time', 'source_time', 'loaded_at'];
BEGIN
    IF to_jsonb(OLD) - own = to_jsonb(NEW) - own THEN
        RETURN NULL;
    END IF;
    NEW.loaded_at := now();
    RETURN NEW;
END
$$;
CREATE TRIGGER note_reload BEFORE UPDATE ON raw.decisions FOR EACH ROW EXECUTE FUNCTION ops.note_reload();
CREATE TRIGGER note_reload BEFORE UPDATE ON raw.alerts FOR EACH ROW EXECUTE FUNCTION ops.note_reload();
CREATE TRIGGER note_reload BEFORE UPDATE ON raw.dead_letters FOR EACH ROW EXECUTE FUNCTION ops.note_reload();

-- Makes the partitions of the next days and of every day that waits in the DEFAULT partition, and drops days older than
-- the policy keeps. Call it once per table, each in a transaction of its own: it locks the table for as long as it moves.
-- Days before 2000 and after tomorrow's tomorrow stay in DEFAULT (sender's clocks are wrong) until they age out there.
CREATE FUNCTION ops.roll_partitions(parent text, today date)
RETURNS TABLE (partition_name text, action text, row_count bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '10s'
SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    policy ops.partition_policy;
    stem text;
    columns text;
    day date;
    newest date;
    child record;
BEGIN
    SELECT * INTO policy FROM ops.partition_policy WHERE table_name = parent;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% has no row in ops.partition_policy', parent;
    END IF;
    stem := split_part(parent, '.', 2);
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', parent::regclass);
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO columns
    FROM pg_attribute
    WHERE attrelid = parent::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '';

    FOR day IN EXECUTE format(
        'SELECT moment::date FROM generate_series($1::timestamp, $2::timestamp, ''1 day'') AS moment
         UNION
         SELECT DISTINCT to_timestamp(%1$I / 1000)::date FROM partitions.%2$I
         WHERE %1$I >= extract(epoch FROM date ''2000-01-01'') * 1000 AND %1$I < extract(epoch FROM $2 + 1) * 1000
         ORDER BY 1', policy.day_column, stem || '_default')
        USING today - 1, today + policy.ahead_days
    LOOP
        partition_name := stem || to_char(day, '_YYYYMMDD');
        CONTINUE WHEN to_regclass(format('partitions.%I', partition_name)) IS NOT NULL;
        action := 'created';
        EXECUTE format('CREATE TABLE partitions.%I (LIKE %s INCLUDING ALL)', partition_name, parent::regclass);
        EXECUTE format(
            'WITH moved AS (DELETE FROM partitions.%1$I WHERE %2$I >= %3$s AND %2$I < %4$s RETURNING %5$s)
             INSERT INTO partitions.%6$I (%5$s) SELECT %5$s FROM moved',
            stem || '_default', policy.day_column, extract(epoch FROM day)::bigint * 1000,
            extract(epoch FROM day + 1)::bigint * 1000, columns, partition_name);
        GET DIAGNOSTICS row_count = ROW_COUNT;
        EXECUTE format(
            'ALTER TABLE %s ATTACH PARTITION partitions.%I FOR VALUES FROM (%s) TO (%s)', parent::regclass,
            partition_name, extract(epoch FROM day)::bigint * 1000, extract(epoch FROM day + 1)::bigint * 1000);
        RETURN NEXT;
    END LOOP;

    IF policy.keep_days IS NULL THEN
        RETURN;
    END IF;
    action := 'dropped';
    FOR child IN
        SELECT relname, to_date(right(relname, 8), 'YYYYMMDD') AS of_day
        FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = parent::regclass AND relname ~ '_[0-9]{8}$'
        ORDER BY of_day DESC
    LOOP
        EXECUTE format('SELECT count(*) FROM partitions.%I', child.relname) INTO row_count;
        IF newest IS NULL AND row_count > 0 THEN
            newest := child.of_day;
        END IF;
        IF child.of_day < newest - policy.keep_days THEN
            EXECUTE format('DROP TABLE partitions.%I', child.relname);
            partition_name := child.relname;
            RETURN NEXT;
        END IF;
    END LOOP;
    EXECUTE format('DELETE FROM partitions.%I WHERE loaded_at < $1', stem || '_default')
        USING (today - policy.keep_days)::timestamp;
    GET DIAGNOSTICS row_count = ROW_COUNT;
    IF row_count > 0 THEN
        partition_name := stem || '_default';
        action := 'emptied';
        RETURN NEXT;
    END IF;
END
$$;
