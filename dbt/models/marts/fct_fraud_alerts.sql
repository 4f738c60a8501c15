{{ config(
    materialized='incremental',
    incremental_strategy='merge',
    unique_key='alert_id',
    indexes=[{'columns': ['loaded_at']}]
) }}

with alerts as (

    select
        *,
        (occurred_at at time zone 'UTC')::date as occurred_on
    from {{ ref('stg_alerts') }}

),

new_alerts as (

    select * from alerts
    where {{ is_new() }}

),

currency_units as (

    select * from {{ ref('currency_units') }}

)

select
    new_alerts.alert_id,
    {{ key_of(['new_alerts.customer_id', 'new_alerts.transaction_id', 'new_alerts.event_time_ms']) }}
        as transaction_key,
    new_alerts.customer_id,
    new_alerts.transaction_id,
    case when new_alerts.merchant_name is not null then {{ key_of(['new_alerts.merchant_name']) }} end as merchant_key,
    new_alerts.merchant_name,
    new_alerts.merchant_category,
    new_alerts.country_code,
    new_alerts.occurred_at,
    new_alerts.occurred_on,
    extract(hour from new_alerts.occurred_at at time zone 'UTC')::integer as occurred_hour,
    new_alerts.raised_at,
    (new_alerts.amount_minor::numeric / currency_units.minor_units)::numeric(18, 4) as amount,
    new_alerts.currency,
    new_alerts.fraud_score,
    new_alerts.rule_score,
    new_alerts.model_score,
    new_alerts.fraud_score - new_alerts.alert_threshold as score_above_threshold,
    new_alerts.reasons -> 0 ->> 'code' as main_reason_code,
    (
        select string_agg(reason.item ->> 'code', '+' order by reason.position)
        from jsonb_array_elements(new_alerts.reasons) with ordinality as reason (item, position)
    ) as reason_codes,
    new_alerts.model_version,
    new_alerts.loaded_at
from new_alerts
left join currency_units on new_alerts.currency = currency_units.currency
