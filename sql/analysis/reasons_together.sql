-- Question: Which reasons occur together in the alerts of the 30 days up to this day?
select
    reason_codes as reasons,
    count(*) as alerts,
    round(avg(fraud_score)::numeric, 3) as mean_score
from gold.fct_fraud_alerts
where occurred_on between %(day)s::date - 29 and %(day)s
group by reason_codes
order by alerts desc, reasons asc
limit 15
