with source as (

    select * from {{ decisions_relation() }}

)

select
    customer_id,
    transaction_id,
    event_time_ms,
    event_time as occurred_at,
    processing_time as decided_at,
    amount_minor,
    currency,
    merchant as merchant_name,
    category as merchant_category,
    channel,
    country as country_code,
    terminal as terminal_id,
    device as device_id,
    card as card_token,
    ip as ip_address,
    score as fraud_score,
    rule_score,
    ml_score as model_score,
    alpha as model_weight,
    threshold as alert_threshold,
    is_alert,
    features,
    absent as absent_features,
    reasons,
    model as model_state,
    model_version,
    ruleset_version,
    config_revision,
    variant,
    shadow,
    out_of_order_ms,
    source_topic,
    source_partition,
    source_offset,
    loaded_at
from source
