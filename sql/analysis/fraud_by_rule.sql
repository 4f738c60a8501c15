-- Question: Which rules raised the alerts of this day, and what was their precision on labelled alerts?
select
    reason_code as reason,
    hit_count as decisions,
    alert_count as alerts,
    labelled_count as labelled,
    fraud_count as fraud,
    round((100 * hit_precision)::numeric, 1) as precision_percent
from gold.fct_rule_performance
where occurred_on = %(day)s
order by alert_count desc, reason_code asc
