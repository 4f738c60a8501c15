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

)

select
    dead_letter_id,
    disposition,
    reason_code,
    stage,
    detail,
    source_topic,
    source_partition,
    source_offset,
    sent_at,
    set_aside_at,
    set_aside_on,
    disposition = 'rejected' as is_decision_missing,
    payload_bytes,
    is_payload_truncated,
    loaded_at
from dead_letters
where {{ is_new(day='set_aside_on') }}
