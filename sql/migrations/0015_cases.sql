-- Cases of fraud analysts: one open case per customer, joined by the customer's alerts; verdicts; and the outbox, from
-- which a relay sends labels and webhooks at least once. Nothing here is ever deleted: a case outlives its alerts.
--
-- To undo (deletes all cases): DROP SCHEMA cases CASCADE; ALTER TABLE api.keys DROP COLUMN teams;

-- NULL: the key sees the cases of every team.
ALTER TABLE api.keys ADD COLUMN teams text[];

CREATE SCHEMA cases;

-- Grain: one case.
CREATE TABLE cases.cases (
    case_id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id         text NOT NULL,
    team                text NOT NULL DEFAULT 'fraud' CHECK (team ~ '^[a-z0-9-]{1,32}$'),
    status              text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'claimed', 'snoozed', 'closed')),
    priority            double precision NOT NULL DEFAULT 0, -- expected loss: sum of amount * score, main currency units
    assignee            text,
    opened_at           timestamptz NOT NULL DEFAULT now(),
    due_at              timestamptz NOT NULL,
    snoozed_until       timestamptz,
    closed_at           timestamptz,
    alert_count         integer NOT NULL DEFAULT 0,
    last_alert_at       timestamptz,
    verdict             text CHECK (verdict IN ('fraud', 'genuine', 'unsure')), -- the last one
    verdict_reason      text,
    verdict_by          text,
    verdict_at          timestamptz,
    undo_until          timestamptz,
    version             bigint NOT NULL DEFAULT 1, -- counts changes; an edit names the version that it changes
    CONSTRAINT claimed_has_assignee CHECK (status <> 'claimed' OR assignee IS NOT NULL),
    CONSTRAINT snoozed_has_end CHECK ((status = 'snoozed') = (snoozed_until IS NOT NULL)),
    CONSTRAINT closed_has_time CHECK ((status = 'closed') = (closed_at IS NOT NULL))
);
CREATE UNIQUE INDEX cases_one_open ON cases.cases (customer_id) WHERE status <> 'closed';
CREATE INDEX cases_customer ON cases.cases (customer_id, case_id);
CREATE INDEX cases_priority ON cases.cases (status, priority DESC, case_id DESC);
CREATE INDEX cases_queue ON cases.cases (priority DESC, case_id DESC) WHERE status <> 'closed';
CREATE INDEX cases_due ON cases.cases (due_at, case_id) WHERE status <> 'closed';
CREATE INDEX cases_assignee ON cases.cases (assignee, status) WHERE assignee IS NOT NULL;
CREATE INDEX cases_snoozed ON cases.cases (snoozed_until) WHERE status = 'snoozed';

-- Grain: one alert in its case. The amounts stay when retention deletes the alert.
CREATE TABLE cases.alerts (
    alert_id            text NOT NULL,
    event_time_ms       bigint NOT NULL,
    case_id             bigint NOT NULL REFERENCES cases.cases,
    customer_id         text NOT NULL,
    transaction_id      text NOT NULL,
    amount_minor        bigint NOT NULL,
    currency            text NOT NULL,
    score               double precision NOT NULL,
    expected_loss       double precision NOT NULL,
    joined_at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (alert_id, event_time_ms)
);
CREATE INDEX alerts_case ON cases.alerts (case_id, event_time_ms DESC);

-- Grain: one change of a case. Append-only.
CREATE TABLE cases.events (
    event_id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    case_id             bigint NOT NULL REFERENCES cases.cases,
    happened_at         timestamptz NOT NULL DEFAULT now(),
    actor               text NOT NULL,
    action              text NOT NULL,
    before              jsonb,
    after               jsonb,
    request_id          text
);
CREATE INDEX events_case ON cases.events (case_id, event_id);

-- Grain: one note of an analyst. Append-only.
CREATE TABLE cases.notes (
    note_id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    case_id             bigint NOT NULL REFERENCES cases.cases,
    written_at          timestamptz NOT NULL DEFAULT now(),
    author              text NOT NULL,
    body                text NOT NULL CHECK (length(body) BETWEEN 1 AND 10000)
);
CREATE INDEX notes_case ON cases.notes (case_id, note_id);

-- Grain: one receiver of webhooks. The secret itself is not stored, only its name.
CREATE TABLE cases.webhooks (
    webhook_id          text PRIMARY KEY,
    url                 text NOT NULL CHECK (url ~ '^https?://'),
    secret_name         text NOT NULL,
    events              text[] NOT NULL CHECK (cardinality(events) > 0),
    created_at          timestamptz NOT NULL DEFAULT now(),
    created_by          text NOT NULL,
    disabled_at         timestamptz
);

-- Grain: one message that the relay sends. Its id is a function of its content, so a message that is sent twice has one
-- id. not_before is the time to undo, later the time of the next attempt.
CREATE TABLE cases.outbox (
    outbox_id           text PRIMARY KEY,
    kind                text NOT NULL CHECK (kind IN ('label', 'webhook', 'action')),
    case_id             bigint NOT NULL REFERENCES cases.cases,
    webhook_id          text REFERENCES cases.webhooks CHECK ((kind = 'webhook') = (webhook_id IS NOT NULL)),
    payload             jsonb NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now(),
    not_before          timestamptz NOT NULL,
    attempts            integer NOT NULL DEFAULT 0,
    last_error          text,
    sent_at             timestamptz,
    cancelled_at        timestamptz, -- undone before it was sent
    dead_at             timestamptz -- given up after the last attempt
);
CREATE INDEX outbox_waiting ON cases.outbox (not_before)
WHERE sent_at IS NULL AND cancelled_at IS NULL AND dead_at IS NULL;
CREATE INDEX outbox_case ON cases.outbox (case_id);
CREATE INDEX outbox_dead ON cases.outbox (dead_at) WHERE dead_at IS NOT NULL;

CREATE FUNCTION cases.keep_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only: its rows are never changed or deleted', TG_TABLE_SCHEMA, TG_TABLE_NAME;
END
$$;
CREATE TRIGGER keep_events BEFORE UPDATE OR DELETE ON cases.events
FOR EACH ROW EXECUTE FUNCTION cases.keep_rows();
CREATE TRIGGER keep_all_events BEFORE TRUNCATE ON cases.events
FOR EACH STATEMENT EXECUTE FUNCTION cases.keep_rows();
CREATE TRIGGER keep_notes BEFORE UPDATE OR DELETE ON cases.notes
FOR EACH ROW EXECUTE FUNCTION cases.keep_rows();
CREATE TRIGGER keep_all_notes BEFORE TRUNCATE ON cases.notes
FOR EACH STATEMENT EXECUTE FUNCTION cases.keep_rows();

GRANT USAGE ON SCHEMA cases TO streamflow_api;
GRANT SELECT, INSERT, UPDATE ON cases.cases, cases.outbox TO streamflow_api;
GRANT SELECT, INSERT ON cases.alerts, cases.events, cases.notes TO streamflow_api;
GRANT SELECT ON cases.webhooks TO streamflow_api;
-- An alert that the archive wrote again with another score changes its row.
GRANT UPDATE (amount_minor, currency, score, expected_loss) ON cases.alerts TO streamflow_api;
-- New alerts are read in this order, in steps.
DROP INDEX raw.alerts_loaded_at;
CREATE INDEX alerts_loaded_at ON raw.alerts (loaded_at, alert_id, event_time_ms);
GRANT SELECT ON raw.labels, raw.latest_labels TO streamflow_api;
