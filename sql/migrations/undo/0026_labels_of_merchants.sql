-- Undo of 0026.
-- lock: raw.labels
-- lost: labels with a merchant or an event time: SELECT count(*) FROM raw.labels WHERE merchant IS NOT NULL OR event_time_ms IS NOT NULL
ALTER TABLE raw.labels DROP COLUMN merchant, DROP COLUMN event_time_ms;
