-- Question: Which cards, devices and addresses did several customers use in the 7 days up to this day?
with used as (
    select
        'card' as kind,
        card_token as id,
        customer_id,
        occurred_on,
        is_alert
    from gold.fct_transactions
    where card_token not like '****%%' -- the last four digits of a number do not name one card
    union all
    select
        'device' as kind,
        device_id as id,
        customer_id,
        occurred_on,
        is_alert
    from gold.fct_transactions
    union all
    select
        'address' as kind,
        ip_address as id,
        customer_id,
        occurred_on,
        is_alert
    from gold.fct_transactions
)

select
    kind,
    id,
    count(distinct customer_id) as customers,
    count(*) as transactions,
    count(*) filter (where is_alert) as alerts
from used
where id is not null and occurred_on between %(day)s::date - 6 and %(day)s
group by kind, id
having count(distinct customer_id) > 1
order by alerts desc, customers desc, kind asc, id asc
limit 20
