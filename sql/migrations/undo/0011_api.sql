-- Undo of 0011. The role stays: it belongs to the whole server, and another database may use it.
-- lock: api.keys, api.answers, api.reads
-- lost: keys of the API: SELECT count(*) FROM api.keys
-- lost: first answers, so that a transaction sent again could get another one: SELECT count(*) FROM api.answers
-- lost: records of reads of customer data, which are an audit: SELECT count(*) FROM api.reads
DROP SCHEMA api CASCADE;
REVOKE SELECT ON raw.decisions, raw.alerts, ops.control_audit FROM streamflow_api;
REVOKE USAGE ON SCHEMA raw, ops FROM streamflow_api;
