-- Who may do what. The roles are groups without a login: grant them to the accounts of your bank, or give them a
-- password (`streamflow up` does, with one it generates). Roles belong to the whole server, so they may exist already.
--
-- role         raw             ops                           silver, gold
-- writer       upsert          its audit table               -          (the archive job)
-- transformer  read            its run records, partitions   owns both  (dbt, Airflow)
-- analyst      -               -                             reads gold (people, reports)

DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['streamflow_writer', 'streamflow_transformer', 'streamflow_analyst'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        END IF;
    END LOOP;
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO streamflow_transformer', current_database());
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION ops.roll_partitions(text, date) FROM PUBLIC;

-- An upsert reads the row it may replace.
GRANT USAGE ON SCHEMA raw, ops TO streamflow_writer;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA raw TO streamflow_writer;
ALTER DEFAULT PRIVILEGES IN SCHEMA raw GRANT SELECT, INSERT, UPDATE ON TABLES TO streamflow_writer;
GRANT SELECT, INSERT, UPDATE ON ops.control_audit TO streamflow_writer;

CREATE SCHEMA silver AUTHORIZATION streamflow_transformer;
CREATE SCHEMA gold AUTHORIZATION streamflow_transformer;
GRANT USAGE ON SCHEMA raw, ops TO streamflow_transformer;
GRANT SELECT ON ALL TABLES IN SCHEMA raw TO streamflow_transformer;
ALTER DEFAULT PRIVILEGES IN SCHEMA raw GRANT SELECT ON TABLES TO streamflow_transformer;
GRANT SELECT ON ops.control_audit, ops.partition_policy TO streamflow_transformer;
GRANT EXECUTE ON FUNCTION ops.roll_partitions(text, date) TO streamflow_transformer;

ALTER ROLE streamflow_transformer SET timezone = 'UTC'; -- dbt keeps the versions of a snapshot as local times

GRANT USAGE ON SCHEMA gold TO streamflow_analyst;
ALTER DEFAULT PRIVILEGES FOR ROLE streamflow_transformer IN SCHEMA gold GRANT SELECT ON TABLES TO streamflow_analyst;
ALTER ROLE streamflow_analyst SET default_transaction_read_only = on;
ALTER ROLE streamflow_analyst SET statement_timeout = '5min';
