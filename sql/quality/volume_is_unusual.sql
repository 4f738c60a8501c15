-- Check: the number of transactions of the day is between 1/3 and 3 times the median of the 14 days before it.
-- Severity: warn
with days as (
    select
        (event_time at time zone 'UTC')::date as occurred_on,
        count(*) as transactions
    from raw.decisions
    where
        event_time >= (%(day)s::date - 14)::timestamp at time zone 'UTC'
        and event_time < (%(day)s::date + 1)::timestamp at time zone 'UTC'
    group by 1
),

usual as (
    select percentile_cont(0.5) within group (order by transactions) as median_count
    from days
    where occurred_on < %(day)s
)

select
    %(day)s::date as occurred_on,
    coalesce(days.transactions, 0) as transactions,
    usual.median_count
from usual
left join days on days.occurred_on = %(day)s
where coalesce(days.transactions, 0) not between usual.median_count / 3 and usual.median_count * 3
