-- Check: every record that the detector had read at the last comparison with Kafka has a decision or a dead letter.
-- Severity: error
select
    topic,
    partition,
    read_offset,
    missing,
    observed_at
from ops.kafka_positions
where missing > 0
