{#-
    The common table expressions `overall`, `counted`, `shrunk` and `judged` over the transactions of a relation.
    `judged` has one row for each value of `key`.

    The share of alerts is shrunk towards the overall share. With few transactions the result is near the overall share,
    with many it is near the share of the key (an empirical-Bayes estimate; the prior weighs `weight` transactions).
    Bands: high from 3 times the overall share and 2 alerts, raised from 1.5 times and 1 alert, otherwise usual.
-#}
{% macro risk_by(key, transactions='transactions', weight=20) -%}
overall as (

    select (count(*) filter (where is_alert))::double precision / nullif(count(*), 0) as base_ratio
    from {{ transactions }}

),

counted as (

    select
        {{ key }},
        count(*) as transaction_count,
        count(*) filter (where is_alert) as alert_count,
        max(occurred_at) filter (where is_alert) as last_alert_at,
        max(occurred_at) as last_seen_at,
        max(fraud_score) as max_score,
        {{ steady_mean('fraud_score') }} as mean_score
    from {{ transactions }}
    group by {{ key }}

),

shrunk as (

    select
        counted.*,
        overall.base_ratio,
        (counted.alert_count + {{ weight }} * overall.base_ratio)
        / (counted.transaction_count + {{ weight }}) as alert_ratio
    from counted
    cross join overall

),

judged as (

    select
        *,
        case
            when alert_count >= 2 and alert_ratio >= 3 * base_ratio then 'high'
            when alert_count >= 1 and alert_ratio >= 1.5 * base_ratio then 'raised'
            else 'usual'
        end as risk_band
    from shrunk

)
{%- endmacro %}
