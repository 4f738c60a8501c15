-- Undo of 0013.
DO $$
BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM streamflow_writer', current_database());
END
$$;
