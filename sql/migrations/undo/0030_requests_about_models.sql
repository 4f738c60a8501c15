-- Undo of 0030.
-- lock: api.model_requests
-- lost: requests about models: SELECT count(*) FROM api.model_requests
DROP TABLE api.model_requests;
DROP FUNCTION api.check_model_request();
REVOKE SELECT, INSERT ON api.reads FROM streamflow_models;
REVOKE USAGE ON SCHEMA api FROM streamflow_models;
