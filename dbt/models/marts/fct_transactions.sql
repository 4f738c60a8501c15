{{ config(
    materialized='incremental',
    incremental_strategy='merge',
    unique_key='transaction_key',
    indexes=[] if target.type == 'duckdb' else [{'columns': ['loaded_at']}]
) }}

with transactions as (

    select * from {{ ref('int_transactions') }}
    where {{ is_new() }}
    {{ only_newest_decision() }}

)

select
    transaction_key,
    customer_id,
    transaction_id,
    merchant_key,
    merchant_category,
    channel,
    country_code,
    occurred_at,
    occurred_on,
    occurred_hour,
    decided_at,
    amount,
    currency,
    fraud_score,
    rule_score,
    model_score,
    alert_threshold,
    is_alert,
    is_degraded,
    is_out_of_order,
    is_blacklisted,
    amount_zscore,
    velocity_count,
    time_deviation,
    geo_speed_kmh,
    amount_ratio,
    main_reason_code,
    reason_count,
    model_version,
    variant,
    ruleset_version,
    config_revision,
    merchant_name,
    loaded_at,
    terminal_id,
    device_id,
    card_token,
    ip_address
from transactions
