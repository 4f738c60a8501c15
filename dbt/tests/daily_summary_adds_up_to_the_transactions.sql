-- The totals of all days count each transaction once, after any sequence of builds.
with summary as (

    select
        currency,
        sum(transaction_count) as transaction_count,
        sum(transaction_amount) as amount,
        sum(alert_count) as alert_count
    from {{ ref('fct_daily_fraud_summary') }}
    group by currency

),

transactions as (

    select
        currency,
        count(*) as transaction_count,
        sum(amount) as amount,
        count(*) filter (where is_alert) as alert_count
    from {{ ref('fct_transactions') }}
    group by currency

)

select
    coalesce(summary.currency, transactions.currency) as currency,
    summary.transaction_count as in_summary,
    transactions.transaction_count as in_transactions
from summary
full outer join transactions on summary.currency = transactions.currency
where
    summary.transaction_count is distinct from transactions.transaction_count
    or summary.amount is distinct from transactions.amount
    or summary.alert_count is distinct from transactions.alert_count
