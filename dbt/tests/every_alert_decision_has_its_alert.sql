{{ config(severity='warn') }}

-- A decision at the threshold without an alert is a fraud that no analyst sees. The archive reads the two topics
-- independently, so the current day may differ; sql/quality checks complete days.
select transactions.transaction_key
from {{ ref('fct_transactions') }} as transactions
left join {{ ref('fct_fraud_alerts') }} as alerts on transactions.transaction_key = alerts.transaction_key
where transactions.is_alert and alerts.alert_id is null
