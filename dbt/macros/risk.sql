{#-
    The common table expressions `everybody`, `counted` and `judged` over the transactions of a relation, one row of
    `judged` for each value of `key`.

    The share of alerts is shrunk towards the share of all: with few transactions the rate of everybody counts, with many
    the own one (an empirical-Bayes estimate whose prior is worth `weight` transactions).
    Band: high from three times everybody's rate and at least two alerts, raised from one and a half times, else usual.
-#}
{% macro risk_by(key, transactions='transactions', weight=20) -%}
everybody as (

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
        avg(fraud_score::numeric)::double precision as mean_score
    from {{ transactions }}
    group by {{ key }}

),

shrunk as (

    select
        counted.*,
        everybody.base_ratio,
        (counted.alert_count + {{ weight }} * everybody.base_ratio)
        / (counted.transaction_count + {{ weight }}) as alert_ratio
    from counted
    cross join everybody

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
