-- Question: Which customers should be called first: a high share of alerts, the last one most recent?
select
    risk.customer_id as customer,
    risk.risk_band as band,
    risk.alert_count as alerts,
    risk.transaction_count as transactions,
    risk.last_alert_at,
    customers.activity
from gold.mart_customer_risk as risk
inner join gold.dim_customers as customers
    on risk.customer_id = customers.customer_id and customers.is_current
where risk.risk_band = 'high'
order by risk.last_alert_at desc, risk.customer_id asc
limit 20
