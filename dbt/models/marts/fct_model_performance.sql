-- Each build creates the whole table: a label may arrive weeks after its transaction, and changes that day.
with transactions as (

    select * from {{ ref('fct_transactions') }}

),

labels as (

    select * from {{ ref('int_labels_latest') }}

)

select
    transactions.occurred_on,
    coalesce(transactions.model_version, 'rules alone') as model_version,
    transactions.variant,
    count(*) as decision_count,
    count(*) filter (where transactions.is_alert) as alert_count,
    (count(*) filter (where transactions.is_alert))::double precision / count(*) as alert_ratio,
    avg(transactions.fraud_score::numeric)::double precision as mean_score,
    avg(transactions.model_score::numeric)::double precision as mean_model_score,
    count(labels.is_fraud) as labelled_count,
    count(*) filter (where labels.is_fraud) as fraud_count,
    (count(*) filter (where transactions.is_alert and labels.is_fraud))::double precision
    / nullif(count(labels.is_fraud) filter (where transactions.is_alert), 0) as alert_precision,
    (count(*) filter (where transactions.is_alert and labels.is_fraud))::double precision
    / nullif(count(*) filter (where labels.is_fraud), 0) as alert_recall
from transactions
left join labels
    on transactions.customer_id = labels.customer_id and transactions.transaction_id = labels.transaction_id
group by transactions.occurred_on, coalesce(transactions.model_version, 'rules alone'), transactions.variant
