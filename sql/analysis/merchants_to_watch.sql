-- Question: Which merchants have the highest share of alerts, corrected for few transactions?
select
    merchant_name as merchant,
    main_category as category,
    transaction_count as transactions,
    alert_count as alerts,
    round((100 * alert_ratio)::numeric, 1) as shrunk_alert_percent,
    risk_band as band
from gold.mart_merchant_risk
where alert_count > 0
order by alert_ratio desc, merchant_name asc
limit 10
