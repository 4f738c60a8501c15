-- The archive job copies typed rows into temporary tables of its session and upserts them from there (ADR 10).

DO $$
BEGIN
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO streamflow_writer', current_database());
END
$$;
