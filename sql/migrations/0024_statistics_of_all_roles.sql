-- The exporter of the warehouse shows the longest query of all roles and the lag of replicas.
--
-- To undo: REVOKE pg_read_all_stats FROM streamflow_transformer;

GRANT pg_read_all_stats TO streamflow_transformer;
