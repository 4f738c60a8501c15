-- The console shows the checks of drift.
GRANT SELECT ON ops.model_drift TO streamflow_api;
