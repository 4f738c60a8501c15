-- Undo of 0025.
-- lock: raw.decisions, raw.alerts
-- lost: probabilities of decisions: SELECT count(*) FROM raw.decisions WHERE fraud_probability IS NOT NULL
-- lost: probabilities of alerts: SELECT count(*) FROM raw.alerts WHERE fraud_probability IS NOT NULL
ALTER TABLE raw.decisions DROP COLUMN fraud_probability, DROP COLUMN expected_loss_minor;
ALTER TABLE raw.alerts DROP COLUMN fraud_probability, DROP COLUMN expected_loss_minor;
