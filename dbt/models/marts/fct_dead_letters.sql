{{ config(
    materialized='incremental',
    incremental_strategy='merge',
    unique_key='dead_letter_id',
    indexes=[{'columns': ['loaded_at']}]
) }}

with dead_letters as (

    select
        *,
        (set_aside_at at time zone 'UTC')::date as set_aside_on
    from {{ ref('stg_dead_letters') }}

),

-- A redriven record gets its own decision or its own dead letter. A record can have several dead letters.
redriven as (

    select distinct
        source_topic,
        source_partition,
        source_offset
    from {{ ref('stg_redrives') }}
    where outcome in ('sent', 'written')

)

select
    dead_letters.dead_letter_id,
    dead_letters.disposition,
    dead_letters.reason_code,
    dead_letters.stage,
    dead_letters.detail,
    dead_letters.source_topic,
    dead_letters.source_partition,
    dead_letters.source_offset,
    dead_letters.sent_at,
    dead_letters.set_aside_at,
    dead_letters.set_aside_on,
    dead_letters.disposition = 'rejected' and redriven.source_offset is null as is_decision_missing,
    dead_letters.payload_bytes,
    dead_letters.is_payload_truncated,
    dead_letters.loaded_at
from dead_letters
left join redriven
    on
        dead_letters.source_topic = redriven.source_topic
        and dead_letters.source_partition = redriven.source_partition
        and dead_letters.source_offset = redriven.source_offset
-- A redrive may come weeks after its dead letter was loaded.
where {{ is_new('dead_letters.loaded_at', 'dead_letters.set_aside_on') }} or redriven.source_offset is not null
