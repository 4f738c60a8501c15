-- Each build creates the whole table: a label may arrive weeks after its transaction, and changes that day.
with hits as (

    select * from {{ ref('fct_reason_hits') }}

),

labels as (

    select * from {{ ref('int_labels_latest') }}

),

reasons as (

    select * from {{ ref('reason_codes') }}

)

select
    hits.occurred_on,
    hits.reason_code,
    reasons.rule_id,
    count(*) as hit_count,
    count(*) filter (where hits.is_alert) as alert_count,
    count(labels.is_fraud) as labelled_count,
    count(*) filter (where labels.is_fraud) as fraud_count,
    (count(*) filter (where labels.is_fraud))::double precision / nullif(count(labels.is_fraud), 0) as hit_precision,
    (count(*) filter (where hits.is_alert and labels.is_fraud))::double precision
    / nullif(count(labels.is_fraud) filter (where hits.is_alert), 0) as alert_precision,
    avg(hits.contribution::numeric)::double precision as mean_contribution
from hits
inner join reasons on hits.reason_code = reasons.reason_code
left join labels
    on hits.customer_id = labels.customer_id and hits.transaction_id = labels.transaction_id
group by hits.occurred_on, hits.reason_code, reasons.rule_id
