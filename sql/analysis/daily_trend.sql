-- Question: How many transactions and alerts were there on each of the 30 days up to this day?
select
    occurred_on as day,
    sum(transaction_count)::bigint as transactions,
    sum(alert_count)::bigint as alerts,
    round(100.0 * sum(alert_count) / sum(transaction_count), 2) as alert_percent
from gold.fct_daily_fraud_summary
where occurred_on between %(day)s::date - 29 and %(day)s
group by occurred_on
order by occurred_on
