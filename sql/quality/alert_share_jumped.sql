-- Check: the share of alerts of the day is at most twice that of the 14 days before it (checked from 10 alerts on).
-- Severity: warn
with shares as (
    select
        event_time >= %(day)s::timestamp at time zone 'UTC' as is_today,
        count(*) filter (where is_alert) as alerts,
        (count(*) filter (where is_alert))::double precision / count(*) as share
    from raw.decisions
    where
        event_time >= (%(day)s::date - 14)::timestamp at time zone 'UTC'
        and event_time < (%(day)s::date + 1)::timestamp at time zone 'UTC'
    group by 1
)

select
    today.share as share_of_the_day,
    before.share as share_before
from shares as today
inner join shares as before on today.is_today and not before.is_today
where today.alerts >= 10 and today.share > 2 * before.share
