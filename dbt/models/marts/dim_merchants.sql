with transactions as (

    select * from {{ ref('fct_transactions') }}
    where merchant_key is not null

)

select
    merchant_key,
    min(merchant_name) as merchant_name,
    {{ most_frequent('merchant_category') }} as main_category,
    min(occurred_at) as first_seen_at,
    max(occurred_at) as last_seen_at
from transactions
group by merchant_key
