-- Question: What was set aside and why, and how many transactions still miss their decision?
select
    reason_code as reason,
    disposition,
    count(*) as letters,
    count(*) filter (where is_decision_missing) as undecided,
    max(set_aside_at) as last_one
from gold.fct_dead_letters
group by reason_code, disposition
order by letters desc, reason asc
