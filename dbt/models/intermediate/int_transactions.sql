with decisions as (

    select * from {{ ref('stg_decisions') }}

),

currency_units as (

    select * from {{ ref('currency_units') }}

)

select
    {{ key_of(['decisions.customer_id', 'decisions.transaction_id', 'decisions.event_time_ms']) }} as transaction_key,
    decisions.customer_id,
    decisions.transaction_id,
    case when decisions.merchant_name is not null then {{ key_of(['decisions.merchant_name']) }} end as merchant_key,
    decisions.merchant_name,
    decisions.merchant_category,
    decisions.channel,
    decisions.country_code,
    decisions.terminal_id,
    decisions.device_id,
    decisions.card_token,
    decisions.ip_address,
    decisions.occurred_at,
    (decisions.occurred_at at time zone 'UTC')::date as occurred_on,
    extract(hour from decisions.occurred_at at time zone 'UTC')::integer as occurred_hour,
    decisions.decided_at,
    {{ major_units('decisions.amount_minor', 'currency_units.minor_units') }} as amount,
    decisions.currency,
    decisions.fraud_score,
    decisions.rule_score,
    decisions.model_score,
    decisions.alert_threshold,
    decisions.is_alert,
    decisions.model_state = 'degraded' as is_degraded,
    decisions.out_of_order_ms > 0 as is_out_of_order,
    {{ feature('amount_zscore') }} as amount_zscore,
    {{ feature('velocity_count') }} as velocity_count,
    {{ feature('time_deviation') }} as time_deviation,
    {{ feature('geo_speed_kmh') }} as geo_speed_kmh,
    {{ feature('is_blacklisted') }} = 1 as is_blacklisted,
    {{ feature('amount_ratio') }} as amount_ratio,
    decisions.reasons,
    {{ first_reason('decisions.reasons') }} as main_reason_code,
    {{ reason_count('decisions.reasons') }} as reason_count,
    decisions.model_version,
    decisions.variant,
    decisions.ruleset_version,
    decisions.config_revision,
    decisions.loaded_at
from decisions
left join currency_units on decisions.currency = currency_units.currency
