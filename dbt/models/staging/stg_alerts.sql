with source as (

    select * from {{ source('raw', 'alerts') }}

)

select
    alert_id,
    customer_id,
    transaction_id,
    event_time_ms,
    event_time as occurred_at,
    processing_time as raised_at,
    amount_minor,
    currency,
    merchant as merchant_name,
    category as merchant_category,
    country as country_code,
    score as fraud_score,
    rule_score,
    ml_score as model_score,
    threshold as alert_threshold,
    reasons,
    model_version,
    ruleset_version,
    config_revision,
    variant,
    contributions,
    loaded_at
from source
