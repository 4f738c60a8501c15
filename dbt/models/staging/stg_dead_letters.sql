with source as (

    select * from {{ source('raw', 'dead_letters') }}

)

select
    dlq_id as dead_letter_id,
    disposition,
    reason as reason_code,
    stage,
    detail,
    source_topic,
    source_partition,
    source_offset,
    source_time as sent_at,
    processing_time as set_aside_at,
    payload_length as payload_bytes,
    payload_truncated as is_payload_truncated,
    loaded_at
from source
