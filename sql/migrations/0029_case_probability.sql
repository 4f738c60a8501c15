-- The queue shows the probability of fraud of a case's alerts without a read of the partitions of raw.alerts.
ALTER TABLE cases.alerts ADD COLUMN fraud_probability double precision; -- as in raw.alerts
UPDATE cases.alerts AS c SET fraud_probability = r.fraud_probability
FROM raw.alerts AS r
WHERE (r.alert_id, r.event_time_ms) = (c.alert_id, c.event_time_ms) AND r.fraud_probability IS NOT NULL;
GRANT UPDATE (fraud_probability) ON cases.alerts TO streamflow_api;

-- From a label to its alert: the console compares an alert with those that were labelled last.
CREATE INDEX alerts_transaction ON cases.alerts (customer_id, transaction_id);
