-- Two more roles, so that neither the model watch nor a backup logs in as the owner.
--
-- role      raw    ops                          ml            everything else
-- models    read   drift checks, control audit  read, write   -         (drift checks, training, model registry)
-- backup    read   read; its own records        read          read      (dumps; restores into a database of its own)

DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['streamflow_models', 'streamflow_backup'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        END IF;
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA raw, ops, ml TO streamflow_models;
GRANT SELECT ON ALL TABLES IN SCHEMA raw TO streamflow_models;
ALTER DEFAULT PRIVILEGES IN SCHEMA raw GRANT SELECT ON TABLES TO streamflow_models;
GRANT SELECT ON ops.control_audit TO streamflow_models;
GRANT SELECT, INSERT ON ops.model_drift TO streamflow_models;
-- The history of the models is only added to.
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA ml TO streamflow_models;
GRANT UPDATE ON ml.model_versions TO streamflow_models;

-- pg_dump locks and reads every table. A new database is needed to prove that a backup restores.
GRANT pg_read_all_data TO streamflow_backup;
ALTER ROLE streamflow_backup CREATEDB;
GRANT USAGE ON SCHEMA ops TO streamflow_backup;
GRANT SELECT, INSERT, UPDATE ON ops.backups TO streamflow_backup;
