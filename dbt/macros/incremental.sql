{#-
    True for the rows that an incremental model must process: rows loaded since its own newest row, whatever the age of
    the event, or the days of a backfill. A first run and a run with --full-refresh process all rows.
-#}
{% macro is_new(loaded_at='loaded_at', day='occurred_on') -%}
    {%- if not is_incremental() -%}
        true
    {%- elif var('backfill_from') -%}
        {{ day }} between '{{ var("backfill_from") }}'::date and '{{ var("backfill_to") }}'::date
    {%- else -%}
        {{ loaded_at }} > (
            select coalesce(max(seen.loaded_at), '-infinity') - interval '{{ var("lookback_minutes") }} minutes'
            from {{ this }} as seen
        )
    {%- endif -%}
{%- endmacro %}
