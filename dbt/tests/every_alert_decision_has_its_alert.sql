{{ config(severity='warn') }}

-- A decision at the threshold without an alert is a fraud nobody was told of. In mid-stream one of the two topics may
-- be a moment ahead; sql/quality judges closed days.
select transactions.transaction_key
from {{ ref('fct_transactions') }} as transactions
left join {{ ref('fct_fraud_alerts') }} as alerts on transactions.transaction_key = alerts.transaction_key
where transactions.is_alert and alerts.alert_id is null
