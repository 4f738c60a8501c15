-- Check: the comparison with Kafka is less than a day old, and the archive had no backlog.
-- Severity: warn
select
    topic,
    partition,
    waiting,
    observed_at
from ops.kafka_positions
where waiting > 0 and missing is null
union all
select
    null as topic,
    null as partition,
    null as waiting,
    max(observed_at) as observed_at
from ops.kafka_positions
having coalesce(max(observed_at) < now() - interval '1 day', true)
