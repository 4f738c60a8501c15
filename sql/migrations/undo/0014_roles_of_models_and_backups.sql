-- Undo of 0014. The two roles stay: they belong to the whole server, and another database may use them.
REVOKE SELECT, INSERT, UPDATE ON ops.backups FROM streamflow_backup;
REVOKE USAGE ON SCHEMA ops FROM streamflow_backup;
ALTER DEFAULT PRIVILEGES IN SCHEMA raw REVOKE SELECT ON TABLES FROM streamflow_models;
REVOKE ALL ON ALL TABLES IN SCHEMA raw, ops, ml FROM streamflow_models;
REVOKE USAGE ON SCHEMA raw, ops, ml FROM streamflow_models;
