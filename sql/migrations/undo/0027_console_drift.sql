-- Undo of 0027.
REVOKE SELECT ON ops.model_drift FROM streamflow_api;
