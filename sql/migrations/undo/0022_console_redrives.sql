-- Undo of 0022.
-- lock: api.jobs
-- lost: jobs for redrives: SELECT count(*) FROM api.jobs WHERE kind <> 'what-if'
ALTER TABLE api.jobs DROP CONSTRAINT jobs_kind_check, ADD CONSTRAINT jobs_kind_check CHECK (kind = 'what-if');
REVOKE SELECT, INSERT, UPDATE ON ops.redrive_runs, ops.redrives FROM streamflow_api;
