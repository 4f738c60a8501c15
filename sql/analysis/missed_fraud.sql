-- Question: How much labelled fraud of the 30 days up to this day raised no alert, by model version?
select
    model_version,
    sum(fraud_count)::bigint as labelled_fraud,
    round(sum(alert_recall * fraud_count))::bigint as alerted,
    round(sum((1 - alert_recall) * fraud_count))::bigint as missed
from gold.fct_model_performance
where occurred_on between %(day)s::date - 29 and %(day)s and fraud_count > 0
group by model_version
order by model_version
