-- Undo of 0016. Sessions and one-time tokens of accounts end with it.
-- lock: api.accounts, api.login_tokens, api.sessions
-- lost: accounts of the console: SELECT count(*) FROM api.accounts
DROP TABLE api.sessions;
DROP TABLE api.login_tokens;
DROP TABLE api.accounts;
REVOKE SELECT ON raw.dead_letters FROM streamflow_api; -- 0015 granted the labels
REVOKE SELECT ON ml.model_versions, ml.model_events FROM streamflow_api;
REVOKE USAGE ON SCHEMA ml FROM streamflow_api;
