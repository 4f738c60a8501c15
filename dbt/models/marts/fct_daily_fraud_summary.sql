-- A day is replaced as a whole: a transaction whose currency changed must leave no row of the old currency.
{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='occurred_on') }}

with transactions as (

    select * from {{ ref('fct_transactions') }}

),

-- A late transaction changes the totals of its day, so the build counts that day again.
days as (

    select distinct occurred_on from transactions
    where {{ is_new() }}

)

select
    transactions.occurred_on,
    transactions.currency,
    count(*) as transaction_count,
    sum(transactions.amount)::numeric(24, 4) as transaction_amount,
    count(*) filter (where transactions.is_alert) as alert_count,
    coalesce(sum(transactions.amount) filter (where transactions.is_alert), 0)::numeric(24, 4) as alert_amount,
    (count(*) filter (where transactions.is_alert))::double precision / count(*) as alert_ratio,
    count(distinct transactions.customer_id) as customer_count,
    count(distinct transactions.customer_id) filter (where transactions.is_alert) as alerted_customer_count,
    count(*) filter (where transactions.is_degraded) as degraded_count,
    count(*) filter (where transactions.is_out_of_order) as out_of_order_count,
    {{ steady_mean('transactions.fraud_score') }} as mean_score,
    max(transactions.fraud_score) as max_score,
    max(transactions.loaded_at) as loaded_at
from transactions
inner join days on transactions.occurred_on = days.occurred_on
group by transactions.occurred_on, transactions.currency
