-- What watching a model needs: its drift over time, and how right its alerts were.

-- Grain: one measure of one check of a model. A check is all rows of one checked_at and model_version.
CREATE TABLE ops.model_drift (
    checked_at          timestamptz NOT NULL,
    model_version       text NOT NULL,
    subject             text NOT NULL, -- a feature, 'score', 'alerts' or 'model'
    measure             text NOT NULL, -- psi, ks, rate_ratio, precision_drop, age_days, rows_since_training
    value               double precision, -- NULL when too little is known
    watch_at            double precision, -- level becomes 'watch' from here on; NULL: never
    act_at              double precision, -- level becomes 'act' from here on; NULL: never
    level               text NOT NULL CHECK (level IN ('ok', 'watch', 'act', 'unknown')),
    detail              text NOT NULL,
    rows_seen           bigint NOT NULL, -- decisions of the model in the window
    window_from         timestamptz NOT NULL, -- event time, inclusive
    window_until        timestamptz NOT NULL, -- event time, exclusive
    verdict             text NOT NULL CHECK (verdict IN ('stable', 'watch', 'retrain', 'unknown')), -- of the whole check
    PRIMARY KEY (checked_at, model_version, subject, measure)
);
CREATE INDEX model_drift_model ON ops.model_drift (model_version, checked_at);

-- Grain: one decided transaction with what is known of it today: true, false, or NULL where nobody has labelled it.
CREATE VIEW ml.labelled_decisions AS
SELECT
    decisions.customer_id,
    decisions.transaction_id,
    decisions.event_time,
    decisions.model_version,
    decisions.variant,
    decisions.is_alert,
    decisions.shadow,
    decisions.reasons,
    labels.label = 'fraud' AS is_fraud,
    labels.labelled_at
FROM raw.decisions AS decisions
LEFT JOIN raw.latest_labels AS labels USING (customer_id, transaction_id);

-- Grain: one UTC day of event time and one reason code that alerts of the day name.
-- An alert that names several reasons counts under each.
CREATE VIEW ml.rule_precision AS
SELECT
    (decided.event_time AT TIME ZONE 'UTC')::date AS event_day,
    reason ->> 'code' AS reason_code,
    count(*) AS alerts,
    count(decided.is_fraud) AS labelled_alerts,
    count(*) FILTER (WHERE decided.is_fraud) AS fraud_alerts
FROM ml.labelled_decisions AS decided, jsonb_array_elements(decided.reasons) AS reason
WHERE decided.is_alert
GROUP BY 1, 2;

-- Grain: one UTC day of event time, one model and one role: it decided (champion, challenger) or only watched (shadow).
-- A decision made without a model has model_version '(rules alone)'.
CREATE VIEW ml.model_precision AS
SELECT
    (judged.event_time AT TIME ZONE 'UTC')::date AS event_day,
    judged.model_version,
    judged.role,
    count(*) AS decisions,
    count(*) FILTER (WHERE judged.is_alert) AS alerts,
    count(judged.is_fraud) FILTER (WHERE judged.is_alert) AS labelled_alerts,
    count(*) FILTER (WHERE judged.is_alert AND judged.is_fraud) AS fraud_alerts,
    count(judged.is_fraud) AS labelled,
    count(*) FILTER (WHERE judged.is_fraud) AS frauds
FROM (
    SELECT event_time, coalesce(model_version, '(rules alone)') AS model_version, variant AS role, is_alert, is_fraud
    FROM ml.labelled_decisions
    UNION ALL
    SELECT event_time, shadow ->> 'model_version', 'shadow', (shadow ->> 'is_alert')::boolean, is_fraud
    FROM ml.labelled_decisions
    WHERE shadow IS NOT NULL AND jsonb_typeof(shadow) = 'object'
) AS judged
GROUP BY 1, 2, 3;
