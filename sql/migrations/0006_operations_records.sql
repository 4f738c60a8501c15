-- What the runs of the warehouse leave behind for the person on call.

-- Grain: a check of data quality on a day; the latest time it ran.
CREATE TABLE ops.quality_results (
    check_name  text NOT NULL,
    checked_day date NOT NULL,
    severity    text NOT NULL CHECK (severity IN ('error', 'warn')),
    violations  bigint NOT NULL,
    example     text, -- the first row that it found
    checked_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (check_name, checked_day)
);

-- Grain: one node of one run of dbt.
CREATE TABLE ops.dbt_results (
    invocation_id   text NOT NULL,
    node            text NOT NULL,
    status          text NOT NULL,
    seconds         double precision NOT NULL,
    rows_affected   bigint,
    message         text,
    finished_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (invocation_id, node)
);

-- Grain: one thing that went wrong in an orchestrated run.
CREATE TABLE ops.incidents (
    incident_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('task_failed', 'task_retried', 'deadline_missed')),
    dag_id      text NOT NULL,
    task_id     text,
    run_id      text,
    try_number  integer,
    what        text NOT NULL,
    happened_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX incidents_time ON ops.incidents (happened_at);

GRANT SELECT, INSERT, UPDATE ON ops.quality_results, ops.dbt_results TO streamflow_transformer;
GRANT SELECT, INSERT ON ops.incidents TO streamflow_transformer;
