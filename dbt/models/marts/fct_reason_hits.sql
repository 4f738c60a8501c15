{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='transaction_key',
    pre_hook='{{ delete_reasons_of_changed_transactions() }}',
    indexes=[{'columns': ['loaded_at']}]
) }}

with transactions as (

    select * from {{ ref('int_transactions') }}
    where {{ is_new() }}

)

select
    transactions.transaction_key,
    reason.item ->> 'code' as reason_code,
    reason.position::integer as reason_rank,
    (reason.item ->> 'contribution')::double precision as contribution,
    transactions.customer_id,
    transactions.transaction_id,
    transactions.occurred_on,
    transactions.occurred_hour,
    transactions.is_alert,
    transactions.loaded_at
from transactions
cross join lateral jsonb_array_elements(transactions.reasons) with ordinality as reason (item, position)
