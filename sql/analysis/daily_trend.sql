-- Question: How many transactions and alerts were there on each of the 30 days up to this day?
-- A day without transactions is a row with zeros. The rows begin at the first day of gold.
select
    dates.date_day as day,
    coalesce(sum(summary.transaction_count), 0)::bigint as transactions,
    coalesce(sum(summary.alert_count), 0)::bigint as alerts,
    round(100.0 * sum(summary.alert_count) / sum(summary.transaction_count), 2) as alert_percent
from gold.dim_date as dates
left join gold.fct_daily_fraud_summary as summary on dates.date_day = summary.occurred_on
where dates.date_day between %(day)s::date - 29 and %(day)s
group by dates.date_day
order by dates.date_day
