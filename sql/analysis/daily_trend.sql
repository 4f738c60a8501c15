-- Question: How did transactions and alerts go, day by day, in the thirty days up to a day?
select
    occurred_on as day,
    sum(transaction_count)::bigint as transactions,
    sum(alert_count)::bigint as alerts,
    round(100.0 * sum(alert_count) / sum(transaction_count), 2) as alert_percent
from gold.fct_daily_fraud_summary
where occurred_on between %(day)s::date - 29 and %(day)s
group by occurred_on
order by occurred_on
