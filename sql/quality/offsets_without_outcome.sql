-- Check: between the first and the last offset archived of each input partition, every record has an outcome.
-- Severity: error
with outcomes as (
    select
        source_topic,
        source_partition,
        source_offset
    from raw.decisions
    union all
    select
        source_topic,
        source_partition,
        source_offset
    from raw.dead_letters
    where disposition <> 'incident'
),

following as (
    select
        source_topic,
        source_partition,
        source_offset,
        lead(source_offset) over (
            partition by source_topic, source_partition
            order by source_offset
        ) as next_offset
    from outcomes
)

select
    source_topic,
    source_partition,
    source_offset + 1 as first_missing,
    next_offset - source_offset - 1 as missing
from following
where next_offset > source_offset + 1
