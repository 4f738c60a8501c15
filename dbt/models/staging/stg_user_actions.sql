with source as (

    select * from {{ source('raw', 'user_actions') }}

)

select
    action_id collate "C" as action_id, -- the id orders actions of one time of issue, by its bytes
    customer_id,
    action,
    scope,
    merchant as merchant_name,
    card as card_token,
    rule as rule_id,
    issued_at_ms,
    issued_at,
    expires_at,
    reason,
    case_id,
    actor,
    loaded_at
from source
