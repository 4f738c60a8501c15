with transactions as (

    select * from {{ ref('fct_transactions') }}
    where merchant_key is not null

),

everybody as (

    select (count(*) filter (where is_alert))::double precision / nullif(count(*), 0) as base_ratio
    from transactions

),

counted as (

    select
        merchant_key,
        count(*) as transaction_count,
        count(*) filter (where is_alert) as alert_count,
        max(occurred_at) filter (where is_alert) as last_alert_at,
        max(occurred_at) as last_seen_at,
        max(fraud_score) as max_score,
        avg(fraud_score::numeric)::double precision as mean_score
    from transactions
    group by merchant_key

),

shrunk as (

    select
        counted.*,
        everybody.base_ratio,
        {{ shrunk_ratio('counted.alert_count', 'counted.transaction_count', 'everybody.base_ratio') }} as alert_ratio
    from counted
    cross join everybody

)

select
    shrunk.merchant_key,
    merchants.merchant_name,
    merchants.main_category,
    shrunk.transaction_count,
    shrunk.alert_count,
    shrunk.alert_ratio,
    shrunk.base_ratio,
    {{ risk_band('shrunk.alert_ratio', 'shrunk.base_ratio', 'shrunk.alert_count') }} as risk_band,
    shrunk.mean_score,
    shrunk.max_score,
    shrunk.last_alert_at,
    shrunk.last_seen_at
from shrunk
inner join {{ ref('dim_merchants') }} as merchants on shrunk.merchant_key = merchants.merchant_key
