-- Check: the newest row was loaded in the last hour.
-- Severity: warn
select
    max(loaded_at) as newest_row,
    now() - max(loaded_at) as age
from raw.decisions
having coalesce(max(loaded_at) < now() - interval '1 hour', true)
