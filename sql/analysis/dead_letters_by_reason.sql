-- Question: How many records were rejected for which reason, and how many transactions have no decision yet?
select
    reason_code as reason,
    disposition,
    count(*) as letters,
    count(*) filter (where is_decision_missing) as undecided,
    max(set_aside_at) as last_one
from gold.fct_dead_letters
group by reason_code, disposition
order by letters desc, reason asc
