with source as (

    select
        dlq_id,
        source_topic,
        source_partition,
        source_offset,
        outcome,
        ended_at
    from {{ source('ops', 'redrives') }}

)

select
    dlq_id as dead_letter_id,
    source_topic,
    source_partition,
    source_offset,
    outcome,
    ended_at
from source
