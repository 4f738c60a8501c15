-- Check: scores and thresholds of the day are 0 to 1, amounts are 0 or more, and scores from the threshold on alert.
-- Severity: error
select
    customer_id,
    transaction_id,
    score,
    amount_minor
from raw.decisions
where
    event_time >= %(day)s::timestamp at time zone 'UTC'
    and event_time < (%(day)s::date + 1)::timestamp at time zone 'UTC'
    and (
        score not between 0 and 1
        or rule_score not between 0 and 1
        or ml_score not between 0 and 1
        or threshold not between 0 and 1
        or amount_minor < 0
        or (is_alert and score < threshold)
        -- An analyst can allow a customer: then a score at the threshold is no alert.
        or (score >= threshold and not is_alert and not reasons @> '[{"code": "ACCOUNT_ALLOWED"}]')
    )
