-- Question: Which customers with a high share of alerts should be called first (latest alert first)?
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
