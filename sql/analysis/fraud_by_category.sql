-- Question: In which merchant categories were the alerts of this day?
select
    coalesce(merchant_category, '(none)') as category,
    count(*) as transactions,
    count(*) filter (where is_alert) as alerts,
    round(100.0 * count(*) filter (where is_alert) / count(*), 1) as alert_percent
from gold.fct_transactions
where occurred_on = %(day)s
group by merchant_category
order by alerts desc, category asc
