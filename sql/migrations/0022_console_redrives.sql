-- Redrives of dead letters from the console: a dry run and a redrive are jobs.
--
-- To undo (after DELETE FROM api.jobs WHERE kind <> 'what-if'): ALTER TABLE api.jobs DROP CONSTRAINT jobs_kind_check,
-- ADD CONSTRAINT jobs_kind_check CHECK (kind = 'what-if'); REVOKE ALL ON ops.redrives, ops.redrive_runs FROM streamflow_api;

ALTER TABLE api.jobs DROP CONSTRAINT jobs_kind_check,
ADD CONSTRAINT jobs_kind_check CHECK (kind IN ('what-if', 'redrive-plan', 'redrive'));
-- The console sends records only; rows of the raw tables stay with `streamflow dlq redrive`.
GRANT SELECT, INSERT, UPDATE ON ops.redrive_runs, ops.redrives TO streamflow_api;
