-- Retention counts from the time a row was loaded, never from its event time: a backfill, a replay or one card with a
-- wrong clock must not lose rows that arrived a moment ago. Every deletion is recorded in ops.retention_log.
--
-- The database's own clock decides, because it is the clock that wrote loaded_at. A table none of whose rows is younger
-- than the retention is left alone: then the feed has stopped or the clock is wrong, and a person must look.

-- It moved rows and dropped days by event time, under a lock that stopped the archive.
DROP FUNCTION ops.roll_partitions(text, date);

COMMENT ON COLUMN ops.partition_policy.keep_days IS 'days since loaded_at; NULL keeps rows without limit';
-- Decisions and dead letters are compared offset by offset, so both are kept equally long.
UPDATE ops.partition_policy SET keep_days = 400 WHERE table_name = 'raw.dead_letters' AND keep_days = 90;
ALTER TABLE ops.partition_policy ALTER COLUMN ahead_days SET DEFAULT 7;
UPDATE ops.partition_policy SET ahead_days = 7 WHERE ahead_days = 2;

-- Grain: one deletion, of a partition or of a batch of rows of a DEFAULT partition. Append-only.
CREATE TABLE ops.retention_log (
    entry_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name      text NOT NULL,
    partition_name  text NOT NULL,
    action          text NOT NULL CHECK (action IN ('dropped', 'emptied')),
    row_count       bigint NOT NULL,
    first_day_ms    bigint, -- smallest and largest value of the policy's day_column
    last_day_ms     bigint,
    loaded_before   timestamptz NOT NULL, -- every deleted row was loaded before this moment
    deleted_at      timestamptz NOT NULL DEFAULT now(),
    deleted_by      text NOT NULL DEFAULT session_user
);

-- Grain: an input offset whose decision was replaced by the decision of a later record of the same transaction.
CREATE TABLE ops.superseded_decisions (
    source_topic        text NOT NULL,
    source_partition    integer NOT NULL,
    source_offset       bigint NOT NULL,
    superseded_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source_topic, source_partition, source_offset)
);

-- Grain: a range of offsets that hold no committed record: ends of transactions, and records of aborted ones.
CREATE TABLE ops.offsets_without_record (
    topic           text NOT NULL,
    partition       integer NOT NULL,
    first_offset    bigint NOT NULL,
    last_offset     bigint NOT NULL CHECK (last_offset >= first_offset),
    observed_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, first_offset)
);

ALTER TABLE ops.kafka_positions
    ADD COLUMN decided_again bigint,
    ADD COLUMN without_record bigint;

-- Keeps the coordinates of a decision that is about to be replaced. The row's own coordinates are never in the table, so
-- a row that is deleted by hand is still found missing.
CREATE FUNCTION ops.note_superseded() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO ops.superseded_decisions (source_topic, source_partition, source_offset)
    VALUES (OLD.source_topic, OLD.source_partition, OLD.source_offset)
    ON CONFLICT DO NOTHING;
    DELETE FROM ops.superseded_decisions
    WHERE source_topic = NEW.source_topic AND source_partition = NEW.source_partition
        AND source_offset = NEW.source_offset;
    RETURN NEW;
END
$$;
CREATE TRIGGER note_superseded BEFORE UPDATE ON raw.decisions FOR EACH ROW
WHEN ((OLD.source_topic, OLD.source_partition, OLD.source_offset)
    IS DISTINCT FROM (NEW.source_topic, NEW.source_partition, NEW.source_offset))
EXECUTE FUNCTION ops.note_superseded();

-- Grain: an outcome of an input record. A record whose decision was replaced has an outcome too.
CREATE VIEW ops.input_outcomes AS
SELECT source_topic, source_partition, source_offset, loaded_at FROM raw.decisions
UNION ALL
SELECT source_topic, source_partition, source_offset, loaded_at FROM raw.dead_letters WHERE disposition <> 'incident'
UNION ALL
SELECT source_topic, source_partition, source_offset, superseded_at FROM ops.superseded_decisions;

-- Grain: an input partition, and the first offset from which every record must have an outcome. Retention deletes rows
-- that were loaded before a moment; outcomes of one offset range are loaded at most a day apart.
CREATE VIEW ops.completeness_start AS
SELECT source_topic, source_partition, min(source_offset) AS first_offset
FROM ops.input_outcomes
WHERE loaded_at >= coalesce(
    (SELECT max(loaded_before) + interval '1 day' FROM ops.retention_log
     WHERE table_name IN ('raw.decisions', 'raw.dead_letters')), '-infinity')
GROUP BY source_topic, source_partition;

-- Creates the partition of one day, unless it exists or the DEFAULT partition holds rows of that day. Rows are never
-- moved: a day that has rows in DEFAULT stays there. Returns whether a partition was created.
CREATE FUNCTION ops.create_partition(parent text, day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
SET timezone = 'UTC'
AS $$
DECLARE
    policy ops.partition_policy;
    stem text := split_part(parent, '.', 2);
    child text := stem || to_char(day, '_YYYYMMDD');
    from_ms bigint := extract(epoch FROM day)::bigint * 1000;
    to_ms bigint := extract(epoch FROM day + 1)::bigint * 1000;
    has_rows boolean;
BEGIN
    SELECT * INTO policy FROM ops.partition_policy WHERE table_name = parent;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% has no row in ops.partition_policy', parent;
    END IF;
    IF to_regclass(format('partitions.%I', child)) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM partitions.%I WHERE %I >= $1 AND %2$I < $2)',
        stem || '_default', policy.day_column) INTO has_rows USING from_ms, to_ms;
    IF has_rows THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE partitions.%I (LIKE %s INCLUDING ALL)', child, parent::regclass);
    EXECUTE format('ALTER TABLE %s ATTACH PARTITION partitions.%I FOR VALUES FROM (%s) TO (%s)',
        parent::regclass, child, from_ms, to_ms);
    RETURN true;
END
$$;

-- The moment before which rows of a table have been kept long enough; NULL where nothing may be deleted.
CREATE FUNCTION ops.retention_cutoff(parent text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    days integer;
    newest timestamptz;
BEGIN
    SELECT keep_days INTO days FROM ops.partition_policy WHERE table_name = parent;
    IF days IS NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT max(loaded_at) FROM %s', parent::regclass) INTO newest;
    IF newest IS NULL OR newest < now() - make_interval(days => days) THEN
        RETURN NULL; -- no young row: a stopped feed or a wrong clock
    END IF;
    RETURN now() - make_interval(days => days);
END
$$;

-- The partitions of a table whose youngest row has been kept long enough, and old partitions without rows. Read-only.
CREATE FUNCTION ops.expired_partitions(parent text) RETURNS TABLE (partition_name text, row_count bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    cutoff timestamptz := ops.retention_cutoff(parent);
    child record;
    newest timestamptz;
BEGIN
    FOR child IN
        SELECT relname, to_date(right(relname, 8), 'YYYYMMDD') AS of_day
        FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE cutoff IS NOT NULL AND inhparent = parent::regclass AND relname ~ '_[0-9]{8}$'
        ORDER BY of_day
    LOOP
        EXECUTE format('SELECT max(loaded_at) FROM partitions.%I', child.relname) INTO newest;
        CONTINUE WHEN newest >= cutoff OR (newest IS NULL AND child.of_day >= cutoff::date);
        EXECUTE format('SELECT count(*) FROM partitions.%I', child.relname) INTO row_count;
        partition_name := child.relname;
        RETURN NEXT;
    END LOOP;
END
$$;

-- Drops one partition if its youngest row has been kept long enough, and records it. Returns the number of rows, NULL
-- where it was kept. Rows are counted before the lock; a row that arrives meanwhile is young and keeps the partition.
CREATE FUNCTION ops.drop_expired_partition(parent text, child text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
SET timezone = 'UTC'
AS $$
DECLARE
    cutoff timestamptz := ops.retention_cutoff(parent);
    counted bigint;
    day_column text;
    newest timestamptz;
    first_ms bigint;
    last_ms bigint;
BEGIN
    IF cutoff IS NULL OR child !~ '_[0-9]{8}$' OR NOT EXISTS (
        SELECT FROM pg_inherits
        WHERE inhparent = parent::regclass AND inhrelid = to_regclass(format('partitions.%I', child))
    ) THEN
        RETURN NULL;
    END IF;
    SELECT policy.day_column INTO day_column FROM ops.partition_policy AS policy WHERE table_name = parent;
    EXECUTE format('SELECT count(*), max(loaded_at), min(%1$I), max(%1$I) FROM partitions.%2$I', day_column, child)
        INTO counted, newest, first_ms, last_ms;
    IF newest >= cutoff OR (newest IS NULL AND to_date(right(child, 8), 'YYYYMMDD') >= cutoff::date) THEN
        RETURN NULL;
    END IF;
    EXECUTE format('LOCK TABLE partitions.%I IN ACCESS EXCLUSIVE MODE', child);
    EXECUTE format('SELECT max(loaded_at) FROM partitions.%I', child) INTO newest;
    IF newest >= cutoff THEN
        RETURN NULL;
    END IF;
    EXECUTE format('DROP TABLE partitions.%I', child);
    INSERT INTO ops.retention_log
        (table_name, partition_name, action, row_count, first_day_ms, last_day_ms, loaded_before)
    VALUES (parent, child, 'dropped', counted, first_ms, last_ms, cutoff);
    RETURN counted;
END
$$;

-- Deletes at most so many rows of a DEFAULT partition that have been kept long enough, and records it.
CREATE FUNCTION ops.delete_expired_rows(parent text, most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    cutoff timestamptz := ops.retention_cutoff(parent);
    child text := split_part(parent, '.', 2) || '_default';
    day_column text;
    deleted bigint;
    first_ms bigint;
    last_ms bigint;
BEGIN
    IF cutoff IS NULL THEN
        RETURN 0;
    END IF;
    SELECT policy.day_column INTO day_column FROM ops.partition_policy AS policy WHERE table_name = parent;
    EXECUTE format(
        'WITH old AS (SELECT ctid FROM partitions.%1$I WHERE loaded_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED),
         gone AS (DELETE FROM partitions.%1$I WHERE ctid IN (SELECT ctid FROM old) RETURNING %2$I AS day_ms)
         SELECT count(*), min(day_ms), max(day_ms) FROM gone', child, day_column)
        INTO deleted, first_ms, last_ms USING cutoff, most;
    IF deleted > 0 THEN
        INSERT INTO ops.retention_log
            (table_name, partition_name, action, row_count, first_day_ms, last_day_ms, loaded_before)
        VALUES (parent, child, 'emptied', deleted, first_ms, last_ms, cutoff);
    END IF;
    RETURN deleted;
END
$$;

REVOKE EXECUTE ON FUNCTION ops.create_partition(text, date), ops.retention_cutoff(text), ops.expired_partitions(text),
    ops.drop_expired_partition(text, text), ops.delete_expired_rows(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ops.create_partition(text, date), ops.retention_cutoff(text), ops.expired_partitions(text),
    ops.drop_expired_partition(text, text), ops.delete_expired_rows(text, integer) TO streamflow_transformer;
GRANT SELECT ON ops.retention_log, ops.superseded_decisions, ops.input_outcomes, ops.completeness_start
    TO streamflow_transformer;
GRANT SELECT, INSERT, DELETE ON ops.offsets_without_record TO streamflow_transformer;
-- The archive records the earlier ones of two decisions of one transaction that arrive in one batch.
GRANT SELECT, INSERT ON ops.superseded_decisions TO streamflow_writer;
