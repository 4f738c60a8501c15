-- Undo of 0015.
-- lock: cases.cases, cases.webhooks, api.keys
-- lost: cases: SELECT count(*) FROM cases.cases
-- lost: receivers of webhooks: SELECT count(*) FROM cases.webhooks
-- lost: keys that see the cases of some teams only, and would see all: SELECT count(*) FROM api.keys WHERE teams IS NOT NULL
DROP SCHEMA cases CASCADE;
ALTER TABLE api.keys DROP COLUMN teams;
DROP INDEX raw.alerts_loaded_at;
CREATE INDEX alerts_loaded_at ON raw.alerts (loaded_at);
REVOKE SELECT ON raw.labels, raw.latest_labels FROM streamflow_api;
