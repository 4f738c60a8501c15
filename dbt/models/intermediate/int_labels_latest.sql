with labels as (

    select * from {{ ref('stg_labels') }}

),

ranked as (

    select
        *,
        row_number() over (
            partition by customer_id, transaction_id
            order by labelled_at_ms desc, label_id desc
        ) as recency
    from labels

)

select
    customer_id,
    transaction_id,
    label = 'fraud' as is_fraud,
    label_source,
    labelled_at
from ranked
where recency = 1
