with source as (

    select * from {{ source('raw', 'labels') }}

)

select
    label_id,
    customer_id,
    transaction_id,
    label,
    source as label_source,
    labelled_at_ms,
    labelled_at,
    labelled_by,
    loaded_at
from source
