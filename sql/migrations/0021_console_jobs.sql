-- Work of the console that takes longer than a request: backtests of proposals.
--
-- To undo: DROP TABLE api.jobs;

-- Grain: one job. One runs at a time, in a process of its own.
CREATE TABLE api.jobs (
    job_id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind                text NOT NULL CHECK (kind IN ('what-if')),
    request             jsonb NOT NULL,
    proposal_id         bigint REFERENCES api.proposals CHECK ((kind = 'what-if') = (proposal_id IS NOT NULL)),
    asked_by            text NOT NULL,
    asked_at            timestamptz NOT NULL DEFAULT now(),
    state               text NOT NULL DEFAULT 'waiting'
    CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
    done                bigint NOT NULL DEFAULT 0,
    total               bigint,
    result              jsonb,
    error               text,
    started_at          timestamptz,
    beat_at             timestamptz, -- a running job without a beat has lost its process
    ended_at            timestamptz,
    CHECK ((state IN ('waiting', 'running')) = (ended_at IS NULL))
);
CREATE UNIQUE INDEX jobs_one_runs ON api.jobs ((true)) WHERE state = 'running';
CREATE INDEX jobs_waiting ON api.jobs (job_id) WHERE state = 'waiting';
CREATE INDEX jobs_proposal ON api.jobs (proposal_id, job_id) WHERE proposal_id IS NOT NULL;

GRANT SELECT, INSERT, UPDATE ON api.jobs TO streamflow_api;
