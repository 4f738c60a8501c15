with actions as (

    select * from {{ ref('fct_account_actions') }}

),

in_force as (

    select
        *,
        row_number() over (partition by customer_id order by action) as place -- block, then watch
    from actions
    where action in ('block', 'watch') and scope = 'customer' and valid_to > current_timestamp

),

customers as (

    select
        customer_id,
        count(*) as action_count,
        count(*) filter (where valid_to > current_timestamp) as actions_in_force,
        count(*) filter (where action = 'block') as block_count,
        min(valid_from) as first_action_at
    from actions
    group by customer_id

)

select
    customers.customer_id,
    case in_force.action when 'block' then 'blocked' when 'watch' then 'watch' else 'none' end as account_risk,
    in_force.valid_from as risk_since,
    in_force.valid_to as risk_until,
    in_force.reason as risk_reason,
    in_force.actor,
    in_force.case_id,
    customers.action_count,
    customers.actions_in_force,
    customers.block_count,
    customers.first_action_at
from customers
left join in_force
    on customers.customer_id = in_force.customer_id and in_force.place = 1
