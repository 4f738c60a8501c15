-- What the API keeps: keys, first answers, and the record of who read customer data.
-- Role streamflow_api: reads decisions and alerts, owns nothing, cannot change or delete the record of reads.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'streamflow_api') THEN
        CREATE ROLE streamflow_api NOLOGIN;
    END IF;
END
$$;

CREATE SCHEMA api;

-- Grain: one API key. The key itself is not stored.
CREATE TABLE api.keys (
    prefix              text PRIMARY KEY CHECK (length(prefix) BETWEEN 6 AND 16),
    key_sha256          text NOT NULL,
    name                text NOT NULL,
    scopes              text[] NOT NULL CHECK (cardinality(scopes) > 0),
    rate_per_s          integer CHECK (rate_per_s > 0), -- NULL: the default of the API
    created_at          timestamptz NOT NULL DEFAULT now(),
    created_by          text NOT NULL,
    expires_at          timestamptz, -- NULL: never
    revoked_at          timestamptz,
    revoked_by          text,
    last_used_at        timestamptz -- to the minute
);

-- Grain: the first answer on one transaction. The same transaction sent again gets this answer.
CREATE TABLE api.answers (
    customer_id         text NOT NULL,
    transaction_id      text NOT NULL,
    content_sha256      text NOT NULL, -- of the parsed transaction
    answer              jsonb NOT NULL,
    answered_at         timestamptz NOT NULL DEFAULT now(),
    key_prefix          text NOT NULL,
    PRIMARY KEY (customer_id, transaction_id)
);
CREATE INDEX answers_transaction ON api.answers (transaction_id);
CREATE INDEX answers_time ON api.answers (answered_at);

-- Grain: one read of customer data. Each row holds the hash of the row before it.
CREATE TABLE api.reads (
    read_id             bigint PRIMARY KEY,
    happened_at_ms      bigint NOT NULL,
    actor               text NOT NULL,
    action              text NOT NULL,
    customer_id         text,
    request_id          text NOT NULL,
    detail              text NOT NULL,
    previous_sha256     text NOT NULL,
    row_sha256          text NOT NULL
);
CREATE INDEX reads_customer ON api.reads (customer_id, happened_at_ms);

CREATE FUNCTION api.keep_reads() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'api.reads is an audit: its rows are never changed or deleted';
END
$$;
CREATE TRIGGER keep_reads BEFORE UPDATE OR DELETE ON api.reads FOR EACH ROW EXECUTE FUNCTION api.keep_reads();
CREATE TRIGGER keep_all_reads BEFORE TRUNCATE ON api.reads FOR EACH STATEMENT EXECUTE FUNCTION api.keep_reads();

GRANT USAGE ON SCHEMA api, raw, ops TO streamflow_api;
GRANT SELECT ON raw.decisions, raw.alerts, ops.control_audit TO streamflow_api;
GRANT SELECT ON api.keys TO streamflow_api;
GRANT UPDATE (last_used_at) ON api.keys TO streamflow_api;
GRANT SELECT, INSERT, DELETE ON api.answers TO streamflow_api;
GRANT SELECT, INSERT ON api.reads TO streamflow_api;
