-- Check: every decision of the day at or above the threshold has an alert, and every alert has a decision.
-- Severity: error
-- An alert leaves before its decision is committed. After a failure the record is scored again; where a control message
-- took effect in between, the decision can be no alert. So a decision at any score is enough for an alert.
-- Retention may have deleted the one and kept the other, so only rows are compared that were loaded a day after the
-- latest deletion could reach.
with kept as (
    select coalesce(max(loaded_before) + interval '1 day', '-infinity') as since
    from ops.retention_log
    where table_name in ('raw.decisions', 'raw.alerts')
),

decisions as (
    select
        customer_id,
        transaction_id,
        is_alert
    from raw.decisions
    where
        loaded_at >= (select kept.since from kept)
        and event_time >= %(day)s::timestamp at time zone 'UTC'
        and event_time < (%(day)s::date + 1)::timestamp at time zone 'UTC'
),

alerts as (
    select
        customer_id,
        transaction_id
    from raw.alerts
    where
        loaded_at >= (select kept.since from kept)
        and event_time >= %(day)s::timestamp at time zone 'UTC'
        and event_time < (%(day)s::date + 1)::timestamp at time zone 'UTC'
)

select
    coalesce(decisions.customer_id, alerts.customer_id) as customer_id,
    coalesce(decisions.transaction_id, alerts.transaction_id) as transaction_id,
    decisions.transaction_id is null as is_decision_missing
from decisions
full outer join alerts
    on decisions.customer_id = alerts.customer_id and decisions.transaction_id = alerts.transaction_id
where decisions.transaction_id is null or (decisions.is_alert and alerts.transaction_id is null)
