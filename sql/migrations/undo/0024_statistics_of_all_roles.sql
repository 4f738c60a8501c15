-- Undo of 0024. A membership belongs to the whole server: databases of other installations on it lose the right, too.
REVOKE pg_read_all_stats FROM streamflow_transformer;
