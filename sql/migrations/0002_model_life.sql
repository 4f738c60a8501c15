-- The life of a model: what decided, what people said of it, which versions there are and who moved them.

-- Which model decided, and what the shadow model would have. Rows from before had one model: the champion.
ALTER TABLE raw.decisions
    ADD COLUMN variant text NOT NULL DEFAULT 'champion' CHECK (variant IN ('champion', 'challenger')),
    ADD COLUMN shadow jsonb;
ALTER TABLE raw.alerts
    ADD COLUMN variant text NOT NULL DEFAULT 'champion' CHECK (variant IN ('champion', 'challenger')),
    ADD COLUMN contributions jsonb, -- feature to its share of ml_score; null when degraded, and before this migration
    ADD COLUMN features jsonb;

-- Grain: one label somebody gave a transaction. A transaction may be labelled again; every label is kept.
CREATE TABLE raw.labels (
    label_id            text PRIMARY KEY, -- a function of the other columns: sent twice, it is one row
    schema_version      integer NOT NULL,
    transaction_id      text NOT NULL,
    customer_id         text NOT NULL,
    label               text NOT NULL CHECK (label IN ('fraud', 'genuine')),
    source              text NOT NULL,
    labelled_at_ms      bigint NOT NULL,
    labelled_at         timestamptz NOT NULL GENERATED ALWAYS AS (to_timestamp(labelled_at_ms / 1000.0)) STORED,
    labelled_by         text NOT NULL,
    comment             text,
    loaded_at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX labels_transaction ON raw.labels (customer_id, transaction_id, labelled_at_ms);
CREATE INDEX labels_time ON raw.labels (labelled_at);

-- Grain: one labelled transaction, with the label that holds: the latest.
CREATE VIEW raw.latest_labels AS
SELECT DISTINCT ON (customer_id, transaction_id)
    customer_id, transaction_id, label, source, labelled_at_ms, labelled_at, labelled_by, comment, label_id
FROM raw.labels
ORDER BY customer_id, transaction_id, labelled_at_ms DESC, label_id DESC;

CREATE SCHEMA ml;

-- Grain: one model version. What it is never changes; its stage does, and ml.model_events says why.
CREATE TABLE ml.model_versions (
    version             text PRIMARY KEY CHECK (version ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    kind                text NOT NULL,
    digest              text NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'), -- SHA-256 of the arrays
    artifact_uri        text NOT NULL,
    manifest            jsonb NOT NULL,
    metrics             jsonb NOT NULL,
    stage               text NOT NULL DEFAULT 'candidate'
                        CHECK (stage IN ('candidate', 'shadow', 'champion', 'archived')),
    created_at          timestamptz NOT NULL, -- when it was trained
    registered_at       timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX model_versions_one_champion ON ml.model_versions (stage) WHERE stage = 'champion';
CREATE UNIQUE INDEX model_versions_one_shadow ON ml.model_versions (stage) WHERE stage = 'shadow';

-- Grain: one thing that happened to a model version. Append-only.
CREATE TABLE ml.model_events (
    event_id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version             text NOT NULL REFERENCES ml.model_versions (version),
    event               text NOT NULL CHECK (event IN (
        'registered', 'gate_passed', 'gate_refused', 'gate_overruled', 'stage_changed', 'job_refused',
        'experiment_started', 'experiment_stopped')),
    from_stage          text,
    to_stage            text,
    actor               text NOT NULL,
    reason              text NOT NULL,
    details             jsonb NOT NULL DEFAULT '{}', -- the gate's checks, the job's answer
    control_id          text, -- of the control message that carried it to the job
    happened_at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX model_events_version ON ml.model_events (version, event_id);

CREATE FUNCTION ml.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ml.model_events is append-only';
END
$$;
CREATE TRIGGER model_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ml.model_events
FOR EACH STATEMENT EXECUTE FUNCTION ml.refuse_change();
