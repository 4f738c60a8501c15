with transactions as (

    select * from {{ ref('fct_transactions') }}

)

select
    customer_id,
    case
        when count(*) < 10 then 'new'
        when count(*) < 100 then 'regular'
        else 'heavy'
    end as activity,
    mode() within group (order by currency) as main_currency,
    mode() within group (order by merchant_category) as main_category,
    coalesce((array_agg(is_blacklisted order by occurred_at desc, transaction_key asc))[1], false) as is_blacklisted
from transactions
group by customer_id
