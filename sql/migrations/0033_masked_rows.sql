-- `streamflow dlq mask` removes card numbers from rows that earlier releases stored. What it did is recorded here.

-- Grain: one table in one run. The counts grow with each batch, in the transaction of the batch.
CREATE TABLE ops.masking_log (
    entry_id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id              text NOT NULL,
    table_name          text NOT NULL,
    looked_at           bigint NOT NULL DEFAULT 0, -- rows
    masked              bigint NOT NULL DEFAULT 0, -- rows
    started_by          text NOT NULL,
    started_at          timestamptz NOT NULL DEFAULT now(),
    finished_at         timestamptz, -- NULL: it runs, or was cut short
    CHECK (masked <= looked_at)
);

CREATE FUNCTION ops.keep_masking_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.finished_at IS NULL THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'ops.masking_log is an audit: what has ended stays as it is';
END
$$;
CREATE TRIGGER keep_masking_log BEFORE UPDATE OR DELETE ON ops.masking_log
FOR EACH ROW EXECUTE FUNCTION ops.keep_masking_log();

-- As before, and: a dead letter whose copy of the payload alone changes is the same record in another form. It keeps its load time,
-- from which retention, the marts and completeness count.
CREATE OR REPLACE FUNCTION ops.note_reload() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    -- The database's own columns: generated ones are not computed yet in a BEFORE trigger.
    own CONSTANT text[] := ARRAY['event_time', 'processing_time', 'source_time', 'loaded_at'];
    before CONSTANT jsonb := to_jsonb(OLD) - own;
    after CONSTANT jsonb := to_jsonb(NEW) - own;
BEGIN
    IF before = after THEN
        RETURN NULL;
    END IF;
    NEW.loaded_at := CASE WHEN before - 'payload' = after - 'payload' THEN OLD.loaded_at ELSE now() END;
    RETURN NEW;
END
$$;

-- As before, and: the owner, who could also drop this trigger, may mask the edits of an attempt.
CREATE OR REPLACE FUNCTION ops.keep_redrives() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    edits CONSTANT text[] := ARRAY['changes', 'edited_payload'];
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.outcome = 'started' THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND to_jsonb(OLD) - edits = to_jsonb(NEW) - edits
        AND pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'ops.redrives is an audit: what has ended stays as it is';
END
$$;
