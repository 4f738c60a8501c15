-- Statistics of the server: the exporter of the warehouse reads running queries and replication of all roles.
--
-- To undo: REVOKE pg_read_all_stats FROM streamflow_transformer;

-- On Postgres 16 and newer, an owner without superuser rights must have this role WITH ADMIN OPTION. Without it the exporter
-- leaves two metrics out, and the alert PostgresSlow names the missing right.
DO $$
BEGIN
    GRANT pg_read_all_stats TO streamflow_transformer;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'not granted: pg_read_all_stats to streamflow_transformer; run the statement as an administrator of the server';
END
$$;
