-- Traces: the context of the detector's span that made a decision, to find its trace.

-- W3C Trace Context; null unless the transaction came with a sampled trace, and before this migration.
ALTER TABLE raw.decisions ADD COLUMN traceparent text;
