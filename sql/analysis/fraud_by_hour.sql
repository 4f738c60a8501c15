-- Question: At which hours (UTC) were the alerts of this day?
select
    hours.hour_of_day as hour,
    coalesce(volume.transaction_count, 0) as transactions,
    coalesce(volume.alert_count, 0) as alerts
from generate_series(0, 23) as hours (hour_of_day)
left join gold.fct_hourly_volume as volume
    on hours.hour_of_day = volume.occurred_hour and volume.occurred_on = %(day)s
order by hours.hour_of_day
