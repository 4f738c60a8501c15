-- Undo of 0033: the two functions of 0004 and 0008 as they were. Rows that were masked stay masked.
-- lock: ops.masking_log
-- lost: records of masked rows: SELECT count(*) FROM ops.masking_log
DROP TABLE ops.masking_log;
DROP FUNCTION ops.keep_masking_log();

CREATE OR REPLACE FUNCTION ops.note_reload() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE OR REPLACE FUNCTION ops.keep_redrives() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.outcome = 'started' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'ops.redrives is an audit: what has ended stays as it is';
END
$$;
