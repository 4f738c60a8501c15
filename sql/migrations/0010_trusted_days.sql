-- Which days of event time passed the quality checks, and with which rows. A day is checked again when rows were loaded
-- into it after its checks, and a day that was missed while the orchestration was down is checked later.

-- Grain: a UTC day of event time that has decisions.
CREATE TABLE ops.quality_days (
    day                 date PRIMARY KEY,
    newest_loaded_at    timestamptz NOT NULL, -- load time of the newest decision of the day
    trusted_loaded_at   timestamptz, -- value of newest_loaded_at that passed every check with severity error
    trusted_at          timestamptz
);

-- A day that passed its checks before this release stays trusted, unless rows were loaded after them.
INSERT INTO ops.quality_days (day, newest_loaded_at, trusted_loaded_at, trusted_at)
SELECT days.day, days.newest_loaded_at, passed.checked_at, passed.checked_at
FROM (
    SELECT (event_time AT TIME ZONE 'UTC')::date AS day, max(loaded_at) AS newest_loaded_at
    FROM raw.decisions GROUP BY 1
) AS days
LEFT JOIN (
    SELECT checked_day, min(checked_at) AS checked_at FROM ops.quality_results
    WHERE severity = 'error' GROUP BY 1 HAVING bool_and(violations = 0)
) AS passed ON passed.checked_day = days.day;

GRANT SELECT, INSERT, UPDATE ON ops.quality_days TO streamflow_transformer;

-- The marts read which dead letters were sent again. The payloads of redrives stay hidden.
GRANT SELECT (dlq_id, source_topic, source_partition, source_offset, outcome, started_at, ended_at)
    ON ops.redrives TO streamflow_transformer;
