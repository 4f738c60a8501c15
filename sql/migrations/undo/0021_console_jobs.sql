-- Undo of 0021.
-- lock: api.jobs
-- lost: jobs of the console: SELECT count(*) FROM api.jobs
DROP TABLE api.jobs;
