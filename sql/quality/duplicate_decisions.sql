-- Check: every transaction of the day has exactly one decision, over all days.
-- Severity: error
with of_the_day as (
    select distinct
        customer_id,
        transaction_id
    from raw.decisions
    where
        event_time >= %(day)s::timestamp at time zone 'UTC'
        and event_time < (%(day)s::date + 1)::timestamp at time zone 'UTC'
)

select
    decisions.customer_id,
    decisions.transaction_id,
    count(*) as decision_count
from raw.decisions as decisions
inner join of_the_day
    on decisions.customer_id = of_the_day.customer_id and decisions.transaction_id = of_the_day.transaction_id
group by decisions.customer_id, decisions.transaction_id
having count(*) > 1
