-- Undo of 0023.
-- lock: raw.decisions
-- lost: trace contexts of decisions: SELECT count(*) FROM raw.decisions WHERE traceparent IS NOT NULL
ALTER TABLE raw.decisions DROP COLUMN traceparent;
