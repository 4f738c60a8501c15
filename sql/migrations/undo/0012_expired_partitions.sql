-- Undo of 0012: the two functions of 0009 as they were.
DROP FUNCTION ops.count_expired_rows(text, text);
DROP FUNCTION ops.expired_partitions(text);

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

DROP FUNCTION ops.is_expired(text, timestamptz);
REVOKE EXECUTE ON FUNCTION ops.expired_partitions(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ops.expired_partitions(text) TO streamflow_transformer;
