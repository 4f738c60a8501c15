{{ config(materialized='incremental', incremental_strategy='merge', unique_key='hour_start') }}

with transactions as (

    select
        *,
        {{ start_of_hour('occurred_at') }} as hour_start
    from {{ ref('fct_transactions') }}

),

hours as (

    select distinct hour_start from transactions
    where {{ is_new() }}

)

select
    transactions.hour_start,
    min(transactions.occurred_on) as occurred_on,
    min(transactions.occurred_hour) as occurred_hour,
    count(*) as transaction_count,
    count(*) filter (where transactions.is_alert) as alert_count,
    (count(*) filter (where transactions.is_alert))::double precision / count(*) as alert_ratio,
    count(distinct transactions.customer_id) as customer_count,
    count(*) filter (where transactions.is_degraded) as degraded_count,
    max(transactions.loaded_at) as loaded_at
from transactions
inner join hours on transactions.hour_start = hours.hour_start
group by transactions.hour_start
