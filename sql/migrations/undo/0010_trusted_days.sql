-- Undo of 0010. Days without a passed check are found again from the decisions.
-- lock: ops.quality_days
-- lost: days that passed their quality checks: SELECT count(*) FROM ops.quality_days WHERE trusted_at IS NOT NULL
DROP TABLE ops.quality_days;
REVOKE SELECT (dlq_id, source_topic, source_partition, source_offset, outcome, started_at, ended_at)
    ON ops.redrives FROM streamflow_transformer;
