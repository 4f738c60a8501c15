-- The days of gold, not of raw: gold keeps the days that retention has deleted from raw.
with days as (

    select
        min(occurred_on) as first_day,
        max(occurred_on) as last_day
    from {{ ref('fct_transactions') }}

),

spine as (

    {{ days_between('days.first_day', 'days.last_day', 'days') }}

)

select
    date_day,
    extract(isodow from date_day)::integer as iso_weekday,
    extract(isodow from date_day) >= 6 as is_weekend,
    extract(week from date_day)::integer as iso_week,
    extract(isoyear from date_day)::integer as iso_year,
    date_trunc('month', date_day)::date as month_start,
    extract(quarter from date_day)::integer as quarter_of_year,
    extract(year from date_day)::integer as calendar_year
from spine
