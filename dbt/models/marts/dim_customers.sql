with versions as (

    select
        *,
        row_number() over (partition by customer_id order by dbt_valid_from) as version
    from {{ ref('customers_snapshot') }}

)

select
    {{ key_of(['customer_id', 'version']) }} as customer_key,
    customer_id,
    version::integer as version,
    activity,
    main_currency,
    main_category,
    is_blacklisted,
    case
        when version = 1 then timestamptz '1970-01-01 00:00:00+00' else dbt_valid_from at time zone 'UTC'
    end as valid_from,
    coalesce(dbt_valid_to at time zone 'UTC', timestamptz '9999-12-31 00:00:00+00') as valid_to,
    dbt_valid_to is null as is_current
from versions
