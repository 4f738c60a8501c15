with actions as (

    select * from {{ ref('stg_user_actions') }}

),

{# The first newer action that replaces this one or ends it; the id decides between equal times of issue. #}
followed as (

    select
        actions.action_id,
        newer.issued_at as ended_at,
        newer.action as ended_by_action,
        row_number() over (
            partition by actions.action_id
            order by newer.issued_at_ms, newer.action_id
        ) as recency
    from actions
    inner join actions as newer
        on
            actions.customer_id = newer.customer_id
            and (actions.issued_at_ms, actions.action_id) < (newer.issued_at_ms, newer.action_id)
            and (
                (
                    actions.action = newer.action
                    and actions.merchant_name is not distinct from newer.merchant_name
                    and actions.card_token is not distinct from newer.card_token
                    and actions.rule_id is not distinct from newer.rule_id
                )
                or (
                    newer.action = 'clear'
                    and (newer.merchant_name is null or actions.merchant_name = newer.merchant_name)
                    and (newer.card_token is null or actions.card_token = newer.card_token)
                    and (newer.rule_id is null or actions.rule_id = newer.rule_id)
                )
            )

)

select
    actions.action_id,
    actions.customer_id,
    actions.action,
    actions.scope,
    actions.merchant_name,
    actions.card_token,
    actions.rule_id,
    actions.reason,
    actions.case_id,
    actions.actor,
    actions.issued_at as valid_from,
    case
        when actions.action = 'clear' then actions.issued_at
        else least(actions.expires_at, followed.ended_at)
    end as valid_to,
    case
        when actions.action = 'clear' then 'none'
        when followed.ended_at is null or actions.expires_at <= followed.ended_at then 'expiry'
        when followed.ended_by_action = 'clear' then 'clear'
        else 'replacement'
    end as end_reason,
    actions.loaded_at
from actions
left join followed
    on actions.action_id = followed.action_id and followed.recency = 1
