-- The console finds an alert by its transaction, without the customer. Alerts are few, so the index is small.

CREATE INDEX alerts_transaction ON raw.alerts (transaction_id);
