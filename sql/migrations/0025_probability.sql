-- Calibrated models: the probability of fraud of a decision, and its expected loss.

-- Null for a decision of a model without a calibration, of rules alone, and before this migration.
ALTER TABLE raw.decisions ADD COLUMN fraud_probability double precision,
ADD COLUMN expected_loss_minor bigint; -- amount * probability, minor units of the currency
ALTER TABLE raw.alerts ADD COLUMN fraud_probability double precision,
ADD COLUMN expected_loss_minor bigint; -- as in raw.decisions
