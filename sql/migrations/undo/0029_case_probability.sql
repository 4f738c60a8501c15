-- Undo of 0029.
-- lock: cases.alerts
-- lost: probabilities of alerts that retention has deleted: SELECT count(*) FROM cases.alerts c WHERE c.fraud_probability IS NOT NULL AND NOT EXISTS (SELECT FROM raw.alerts r WHERE (r.alert_id, r.event_time_ms) = (c.alert_id, c.event_time_ms))
DROP INDEX cases.alerts_transaction;
ALTER TABLE cases.alerts DROP COLUMN fraud_probability;
