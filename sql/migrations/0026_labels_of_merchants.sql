-- Merchant and event time of a label's transaction (version 2 of the contract); null in labels of version 1, and before this
-- migration.
ALTER TABLE raw.labels
    ADD COLUMN merchant text,
    ADD COLUMN event_time_ms bigint;
