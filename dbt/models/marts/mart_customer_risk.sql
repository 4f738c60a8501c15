with transactions as (

    select * from {{ ref('fct_transactions') }}

),

{{ risk_by('customer_id') }}

select
    customer_id,
    transaction_count,
    alert_count,
    alert_ratio,
    base_ratio,
    risk_band,
    mean_score,
    max_score,
    last_alert_at,
    last_seen_at
from judged
