-- Check: every decision of the day at or above the threshold has an alert, and every alert has a decision.
-- Severity: error
with decisions as (
    select
        customer_id,
        transaction_id
    from raw.decisions
    where
        is_alert
        and event_time >= %(day)s::timestamp at time zone 'UTC'
        and event_time < (%(day)s::date + 1)::timestamp at time zone 'UTC'
),

alerts as (
    select
        customer_id,
        transaction_id
    from raw.alerts
    where
        event_time >= %(day)s::timestamp at time zone 'UTC'
        and event_time < (%(day)s::date + 1)::timestamp at time zone 'UTC'
)

select
    coalesce(decisions.customer_id, alerts.customer_id) as customer_id,
    coalesce(decisions.transaction_id, alerts.transaction_id) as transaction_id,
    decisions.transaction_id is null as is_decision_missing
from decisions
full outer join alerts
    on decisions.customer_id = alerts.customer_id and decisions.transaction_id = alerts.transaction_id
where decisions.transaction_id is null or alerts.transaction_id is null
