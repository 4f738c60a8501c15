-- One function holds the condition under which a partition has been kept long enough, and its rows are counted once.

-- Whether the youngest row of a partition was loaded before the cutoff; without rows its day decides.
CREATE FUNCTION ops.is_expired(child text, cutoff timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    newest timestamptz;
BEGIN
    EXECUTE format('SELECT max(loaded_at) FROM partitions.%I', child) INTO newest;
    RETURN coalesce(newest < cutoff, to_date(right(child, 8), 'YYYYMMDD') < cutoff::date, false);
END
$$;

-- It returned the number of rows too, which cost a second scan of every partition that is dropped.
DROP FUNCTION ops.expired_partitions(text);

-- The names of the partitions of a table that have been kept long enough, oldest day first. Read-only.
CREATE FUNCTION ops.expired_partitions(parent text) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT relname::text
    FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid, ops.retention_cutoff(parent) AS cutoff
    WHERE inhparent = parent::regclass AND relname ~ '_[0-9]{8}$'
        AND cutoff IS NOT NULL AND ops.is_expired(relname::text, cutoff)
    ORDER BY right(relname, 8)
$$;

-- Drops one partition if it has been kept long enough, and records it. Returns the number of rows, NULL where it was
-- kept. Rows are counted before the lock; a row that arrives meanwhile is young and keeps the partition.
CREATE OR REPLACE FUNCTION ops.drop_expired_partition(parent text, child text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
SET timezone = 'UTC'
AS $$
DECLARE
    cutoff timestamptz := ops.retention_cutoff(parent);
    counted bigint;
    day_column text;
    first_ms bigint;
    last_ms bigint;
BEGIN
    IF cutoff IS NULL OR child !~ '_[0-9]{8}$' OR NOT EXISTS (
        SELECT FROM pg_inherits
        WHERE inhparent = parent::regclass AND inhrelid = to_regclass(format('partitions.%I', child))
    ) OR NOT ops.is_expired(child, cutoff) THEN
        RETURN NULL;
    END IF;
    SELECT policy.day_column INTO day_column FROM ops.partition_policy AS policy WHERE table_name = parent;
    EXECUTE format('SELECT count(*), min(%1$I), max(%1$I) FROM partitions.%2$I', day_column, child)
        INTO counted, first_ms, last_ms;
    EXECUTE format('LOCK TABLE partitions.%I IN ACCESS EXCLUSIVE MODE', child);
    IF NOT ops.is_expired(child, cutoff) THEN
        RETURN NULL;
    END IF;
    EXECUTE format('DROP TABLE partitions.%I', child);
    INSERT INTO ops.retention_log
        (table_name, partition_name, action, row_count, first_day_ms, last_day_ms, loaded_before)
    VALUES (parent, child, 'dropped', counted, first_ms, last_ms, cutoff);
    RETURN counted;
END
$$;

-- The number of rows of a partition that have been kept long enough. The transformer may not read partitions directly.
CREATE FUNCTION ops.count_expired_rows(parent text, child text) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    counted bigint;
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_inherits
        WHERE inhparent = parent::regclass AND inhrelid = to_regclass(format('partitions.%I', child))
    ) THEN
        RETURN 0;
    END IF;
    EXECUTE format('SELECT count(*) FROM partitions.%I WHERE loaded_at < $1', child)
        INTO counted USING ops.retention_cutoff(parent);
    RETURN counted;
END
$$;

REVOKE EXECUTE ON FUNCTION ops.is_expired(text, timestamptz), ops.expired_partitions(text),
    ops.count_expired_rows(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ops.expired_partitions(text), ops.count_expired_rows(text, text) TO streamflow_transformer;
