-- The days of gold, not of raw: gold keeps the days that retention has deleted from raw.
with days as (

    select
        min(occurred_on) as first_day,
        max(occurred_on) as last_day
    from {{ ref('fct_transactions') }}

),

spine as (

    select days_of_all.moment::date as date_day
    from days
    cross join lateral generate_series(days.first_day::timestamp, days.last_day::timestamp, interval '1 day')
        as days_of_all (moment)

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
