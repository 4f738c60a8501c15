-- Check: from the first archived offset that retention has not reached, every input record has an outcome.
-- Severity: error
with outcomes as (
    select distinct
        found.source_topic,
        found.source_partition,
        found.source_offset
    from ops.input_outcomes as found
    inner join ops.completeness_start as start_of
        on
            found.source_topic = start_of.source_topic
            and found.source_partition = start_of.source_partition
            and found.source_offset >= start_of.first_offset
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
),

gaps as (
    select
        source_topic,
        source_partition,
        source_offset + 1 as first_missing,
        next_offset - 1 as last_missing
    from following
    where next_offset > source_offset + 1
),

explained as (
    select
        gaps.source_topic,
        gaps.source_partition,
        gaps.first_missing,
        gaps.last_missing - gaps.first_missing + 1 as offsets,
        coalesce(sum(
            least(gaps.last_missing, known.last_offset) - greatest(gaps.first_missing, known.first_offset) + 1
        ) filter (where known.topic is not null), 0) as without_record
    from gaps
    left join ops.offsets_without_record as known
        on
            gaps.source_topic = known.topic
            and gaps.source_partition = known.partition
            and gaps.first_missing <= known.last_offset
            and gaps.last_missing >= known.first_offset
    group by gaps.source_topic, gaps.source_partition, gaps.first_missing, gaps.last_missing
)

select
    source_topic,
    source_partition,
    first_missing,
    offsets - without_record as missing
from explained
where offsets > without_record
