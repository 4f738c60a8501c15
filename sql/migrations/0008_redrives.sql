-- Dead letters that were sent again: who, when, why, which, what changed, what came of it.

-- Grain: one `streamflow dlq redrive`.
CREATE TABLE ops.redrive_runs (
    run_id              text PRIMARY KEY,
    started_by          text NOT NULL,
    reason              text NOT NULL,
    selection           jsonb NOT NULL, -- the options that chose the letters
    positions           jsonb NOT NULL, -- [topic, partition, end] before anything was sent: where a search begins
    started_at          timestamptz NOT NULL DEFAULT now(),
    finished_at         timestamptz -- NULL: it runs, or was cut short
);

-- Grain: one attempt to give one dead letter's record its outcome. Written before the record is sent, completed after.
CREATE TABLE ops.redrives (
    redrive_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id              text NOT NULL REFERENCES ops.redrive_runs (run_id),
    dlq_id              text NOT NULL,
    letter_reason       text NOT NULL,
    source_topic        text NOT NULL, -- of the record that was set aside
    source_partition    integer NOT NULL,
    source_offset       bigint NOT NULL,
    replay              integer NOT NULL CHECK (replay > 0), -- how often the first record was sent again, this included
    is_forced           boolean NOT NULL,
    changes             jsonb, -- NULL: not edited
    edited_payload      bytea, -- what was sent, where that is not what the letter keeps
    payload_sha256      text NOT NULL, -- of what was sent
    outcome             text NOT NULL DEFAULT 'started' CHECK (outcome IN (
        'started',    -- about to be sent; with the run cut short: not known, the next run finds out
        'sent',       -- a record of sent_partition and sent_offset
        'written',    -- its row is in its table
        'refused',    -- its table refused it again
        'abandoned'   -- never reached Kafka
    )),
    detail              text,
    sent_partition      integer,
    sent_offset         bigint,
    started_at          timestamptz NOT NULL DEFAULT now(),
    ended_at            timestamptz,
    CHECK ((outcome = 'sent') = (sent_partition IS NOT NULL AND sent_offset IS NOT NULL)),
    CHECK ((outcome = 'started') = (ended_at IS NULL))
);
-- Nothing is redriven twice: by the record's coordinates, for a record can have several letters.
CREATE UNIQUE INDEX redrives_once ON ops.redrives (source_topic, source_partition, source_offset)
WHERE outcome IN ('started', 'sent', 'written');
CREATE INDEX redrives_letter ON ops.redrives (dlq_id);

CREATE FUNCTION ops.keep_redrives() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.outcome = 'started' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'ops.redrives is an audit: what has ended stays as it is';
END
$$;
CREATE TRIGGER keep_redrives BEFORE UPDATE OR DELETE ON ops.redrives
FOR EACH ROW EXECUTE FUNCTION ops.keep_redrives();
