{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='transaction_key',
    pre_hook='{{ delete_reasons_of_changed_transactions() }}',
    indexes=[] if target.type == 'duckdb' else [{'columns': ['loaded_at']}]
) }}

with transactions as (

    select * from {{ ref('int_transactions') }}
    where {{ is_new() }}
    {{ only_newest_decision() }}

)

select
    transactions.transaction_key,
    reason.code as reason_code,
    reason.position as reason_rank,
    reason.contribution,
    transactions.customer_id,
    transactions.transaction_id,
    transactions.occurred_on,
    transactions.occurred_hour,
    transactions.is_alert,
    transactions.loaded_at
from transactions
cross join lateral {{ reason_rows('transactions.reasons') }}
