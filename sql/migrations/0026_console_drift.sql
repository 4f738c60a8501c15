-- The console shows the checks of drift.
--
-- To undo: REVOKE SELECT ON ops.model_drift FROM streamflow_api;

GRANT SELECT ON ops.model_drift TO streamflow_api;
