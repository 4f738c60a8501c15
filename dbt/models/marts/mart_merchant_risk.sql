with transactions as (

    select * from {{ ref('fct_transactions') }}
    where merchant_key is not null

),

{{ risk_by('merchant_key') }}

select
    judged.merchant_key,
    merchants.merchant_name,
    merchants.main_category,
    judged.transaction_count,
    judged.alert_count,
    judged.alert_ratio,
    judged.base_ratio,
    judged.risk_band,
    judged.mean_score,
    judged.max_score,
    judged.last_alert_at,
    judged.last_seen_at
from judged
inner join {{ ref('dim_merchants') }} as merchants on judged.merchant_key = merchants.merchant_key
