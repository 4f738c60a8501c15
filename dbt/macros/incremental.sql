{#-
    True for the rows that an incremental model must process: rows loaded since its own newest row, whatever the age of
    the event, or the days of a backfill. A first run and a run with --full-refresh process all rows.
-#}
{% macro is_new(loaded_at='loaded_at', day='occurred_on') -%}
    {%- if not is_incremental() -%}
        true
    {%- elif var('backfill_from') -%}
        {{ day }} between '{{ var("backfill_from") }}'::date and '{{ var("backfill_to") }}'::date
    {%- elif target.type == 'duckdb' -%}
        {#- A constant lets DuckDB skip the files and row groups with older rows. -#}
        {%- set newest = run_query('select max(loaded_at) from ' ~ this).rows[0][0] if execute -%}
        {{ loaded_at }} > timestamptz '{{ newest or "-infinity" }}' - interval '{{ var("lookback_minutes") }} minutes'
    {%- else -%}
        {{ loaded_at }} > (
            select coalesce(max(seen.loaded_at), '-infinity') - interval '{{ var("lookback_minutes") }} minutes'
            from {{ this }} as seen
        )
    {%- endif -%}
{%- endmacro %}
