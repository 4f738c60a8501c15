with transactions as (

    select * from {{ ref('fct_transactions') }}

),

everybody as (

    select (count(*) filter (where is_alert))::double precision / nullif(count(*), 0) as base_ratio
    from transactions

),

counted as (

    select
        customer_id,
        count(*) as transaction_count,
        count(*) filter (where is_alert) as alert_count,
        max(occurred_at) filter (where is_alert) as last_alert_at,
        max(occurred_at) as last_seen_at,
        max(fraud_score) as max_score,
        avg(fraud_score::numeric)::double precision as mean_score
    from transactions
    group by customer_id

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
    customer_id,
    transaction_count,
    alert_count,
    alert_ratio,
    base_ratio,
    {{ risk_band('alert_ratio', 'base_ratio', 'alert_count') }} as risk_band,
    mean_score,
    max_score,
    last_alert_at,
    last_seen_at
from shrunk
