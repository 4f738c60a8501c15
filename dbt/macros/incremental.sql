{#-
    The rows that an incremental model has to look at: what was loaded since its own newest row, however old the
    event is, or the days of a backfill. A first run and a --full-refresh take all.
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
