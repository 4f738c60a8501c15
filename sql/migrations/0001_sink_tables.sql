-- What the archive job writes: one table per output topic, one row per message, replayable.
--
-- Every primary key is the message's own identity, so that the sink upserts: a replay after a failure rewrites equal
-- rows. Times arrive as integers (milliseconds since the epoch) and the database derives the timestamptz columns, so
-- that no time zone and no rounding comes between Kafka and the table.

CREATE SCHEMA raw;
CREATE SCHEMA IF NOT EXISTS ops;

-- Grain: one scored transaction.
CREATE TABLE raw.decisions (
    customer_id         text NOT NULL,
    transaction_id      text NOT NULL,
    schema_version      integer NOT NULL,
    event_time_ms       bigint NOT NULL,
    event_time          timestamptz NOT NULL GENERATED ALWAYS AS (to_timestamp(event_time_ms / 1000.0)) STORED,
    processing_time_ms  bigint NOT NULL,
    processing_time     timestamptz NOT NULL GENERATED ALWAYS AS (to_timestamp(processing_time_ms / 1000.0)) STORED,
    amount_minor        bigint NOT NULL,
    currency            text NOT NULL,
    merchant            text,
    category            text,
    channel             text,
    country             text,
    score               double precision NOT NULL,
    rule_score          double precision NOT NULL,
    ml_score            double precision,
    alpha               double precision NOT NULL,
    threshold           double precision NOT NULL,
    is_alert            boolean NOT NULL,
    features            jsonb NOT NULL,
    absent              jsonb NOT NULL,
    reasons             jsonb NOT NULL,
    model               text NOT NULL,
    model_version       text,
    ruleset_version     text NOT NULL,
    config_revision     bigint NOT NULL,
    out_of_order_ms     bigint NOT NULL,
    source_topic        text NOT NULL,
    source_partition    integer NOT NULL,
    source_offset       bigint NOT NULL,
    loaded_at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (customer_id, transaction_id)
);
CREATE INDEX decisions_event_time ON raw.decisions (event_time);

-- Grain: one decision above the alert threshold.
CREATE TABLE raw.alerts (
    alert_id            text PRIMARY KEY,
    schema_version      integer NOT NULL,
    transaction_id      text NOT NULL,
    customer_id         text NOT NULL,
    event_time_ms       bigint NOT NULL,
    event_time          timestamptz NOT NULL GENERATED ALWAYS AS (to_timestamp(event_time_ms / 1000.0)) STORED,
    processing_time_ms  bigint NOT NULL,
    processing_time     timestamptz NOT NULL GENERATED ALWAYS AS (to_timestamp(processing_time_ms / 1000.0)) STORED,
    amount_minor        bigint NOT NULL,
    currency            text NOT NULL,
    merchant            text,
    category            text,
    country             text,
    score               double precision NOT NULL,
    rule_score          double precision NOT NULL,
    ml_score            double precision,
    threshold           double precision NOT NULL,
    reasons             jsonb NOT NULL,
    model               text NOT NULL,
    model_version       text,
    ruleset_version     text NOT NULL,
    config_revision     bigint NOT NULL,
    loaded_at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX alerts_event_time ON raw.alerts (event_time);
CREATE INDEX alerts_customer ON raw.alerts (customer_id, event_time);

-- Grain: one dead letter. payload is text when payload_encoding is utf-8, else base64.
CREATE TABLE raw.dead_letters (
    dlq_id              text PRIMARY KEY,
    schema_version      integer NOT NULL,
    disposition         text NOT NULL CHECK (disposition IN ('rejected', 'duplicate', 'incident')),
    reason              text NOT NULL,
    stage               text NOT NULL,
    detail              text NOT NULL,
    source_topic        text NOT NULL,
    source_partition    integer NOT NULL,
    source_offset       bigint NOT NULL,
    timestamp_ms        bigint,
    source_time         timestamptz GENERATED ALWAYS AS (
        CASE WHEN timestamp_ms BETWEEN 0 AND 253402300799999 THEN to_timestamp(timestamp_ms / 1000.0) END) -- to year 9999: the sender chose it
        STORED,
    headers             jsonb NOT NULL,
    payload             text,
    payload_encoding    text NOT NULL CHECK (payload_encoding IN ('utf-8', 'base64')),
    payload_length      bigint NOT NULL,
    payload_sha256      text NOT NULL,
    payload_truncated   boolean NOT NULL,
    processing_time_ms  bigint NOT NULL,
    processing_time     timestamptz NOT NULL GENERATED ALWAYS AS (to_timestamp(processing_time_ms / 1000.0)) STORED,
    loaded_at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dead_letters_reason ON raw.dead_letters (reason, processing_time);

-- Grain: one control message and what became of it.
CREATE TABLE ops.control_audit (
    control_id          text NOT NULL,
    schema_version      integer NOT NULL,
    revision            bigint NOT NULL,
    outcome             text NOT NULL CHECK (outcome IN ('applied', 'rejected', 'duplicate')),
    detail              text,
    issued_by           text,
    issued_at_ms        bigint,
    issued_at           timestamptz GENERATED ALWAYS AS (
        CASE WHEN issued_at_ms BETWEEN 0 AND 253402300799999 THEN to_timestamp(issued_at_ms / 1000.0) END) -- to year 9999: the sender chose it
        STORED,
    reason              text,
    applied_at_ms       bigint NOT NULL,
    applied_at          timestamptz NOT NULL GENERATED ALWAYS AS (to_timestamp(applied_at_ms / 1000.0)) STORED,
    changes             jsonb NOT NULL,
    loaded_at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (control_id, outcome) -- a redelivered message keeps the record of its first one
);
