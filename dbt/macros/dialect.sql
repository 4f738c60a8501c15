{#-
    What Postgres and DuckDB (target `lake`) write differently. Models call these macros; `duckdb__` variants apply to the
    lake, `default__` variants to the warehouse. docs/lake.md lists the models that build on the lake.
-#}

{#- The decisions: the raw table, or the Parquet files of the lake with the columns that Postgres generates. -#}
{% macro decisions_relation() %}
    {%- if target.type == 'duckdb' -%}{{ duckdb__decisions_relation() }}{%- else -%}{{ default__decisions_relation() }}{%- endif -%}
{% endmacro %}

{% macro default__decisions_relation() -%}
    {{ source('raw', 'decisions') }}
{%- endmacro %}

{% macro duckdb__decisions_relation() -%}
    {%- set files = env_var("STREAMFLOW_LAKE_PATH") ~ '/decisions/*/part-*' -%}
    {%- set replaced = replaced_files(files) -%}
    (
        select
            * replace (loaded_at::timestamptz as loaded_at),
            make_timestamptz(event_time_ms * 1000) as event_time,
            make_timestamptz(processing_time_ms * 1000) as processing_time
        from read_parquet('{{ files }}', hive_partitioning = true, union_by_name = true)
        {%- if replaced %}
        where {{ name_in_lake('filename') }} not in ('{{ replaced | join("', '") }}')
        {%- endif %}
        union all by name
        select
            null::varchar as terminal,
            null::varchar as device,
            null::varchar as card,
            null::varchar as ip
        where false -- files of earlier releases have no such columns
    ) as lake_decisions
{%- endmacro %}

{#- A file's day and name, such as `loaded_on=2026-11-27/part-1`. -#}
{% macro name_in_lake(file) -%}
    (split_part({{ file }}, '/', -2) || '/' || split_part({{ file }}, '/', -1))
{%- endmacro %}

{#-
    The files whose rows a merged file holds too, because `streamflow lake compact` deletes them only later. A merged file
    lists the names of the files that it replaces.
-#}
{% macro replaced_files(files) %}
    {%- set merged = files | replace('part-*', 'part-merged-*') -%}
    {%- if not execute or run_query("select file from glob('" ~ merged ~ "') limit 1").rows | length == 0 -%}
        {{- return([]) -}}
    {%- endif -%}
    {%- set query -%}
        with replaced as (
            select
                split_part(file_name, '/', -2) || '/' || unnest(string_split(decode(value), chr(10))) as name
            from parquet_kv_metadata('{{ merged }}')
            where decode(key) = 'streamflow.replaces'
        )
        select name from replaced
        intersect
        select {{ name_in_lake('file') }} from glob('{{ files }}')
    {%- endset -%}
    {{- return(run_query(query).columns[0].values()) -}}
{% endmacro %}

{#-
    The lake keeps each decision message, so a transaction that was decided again has several rows; Postgres keeps the
    newest. The clause keeps the newest row of each transaction among the rows that the query selects.
-#}
{% macro only_newest_decision() %}
    {%- if target.type == 'duckdb' -%}{{ duckdb__only_newest_decision() }}{%- else -%}{{ default__only_newest_decision() }}{%- endif -%}
{% endmacro %}

{% macro default__only_newest_decision() %}{% endmacro %}

{% macro duckdb__only_newest_decision() -%}
    qualify row_number() over (partition by transaction_key order by decided_at desc, loaded_at desc) = 1
{%- endmacro %}

{#- The value of a feature, null where it is absent. -#}
{% macro feature(name, features='decisions.features') %}
    {%- if target.type == 'duckdb' -%}{{ duckdb__feature(name, features) }}{%- else -%}{{ default__feature(name, features) }}{%- endif -%}
{% endmacro %}

{% macro default__feature(name, features) -%}
    ({{ features }} ->> '{{ name }}')::double precision
{%- endmacro %}

{% macro duckdb__feature(name, features) -%}
    {{ features }}['{{ name }}']
{%- endmacro %}

{#- The code of the first reason, null without reasons. -#}
{% macro first_reason(reasons) %}
    {%- if target.type == 'duckdb' -%}{{ duckdb__first_reason(reasons) }}{%- else -%}{{ default__first_reason(reasons) }}{%- endif -%}
{% endmacro %}

{% macro default__first_reason(reasons) -%}
    {{ reasons }} -> 0 ->> 'code'
{%- endmacro %}

{% macro duckdb__first_reason(reasons) -%}
    {{ reasons }}[1].code
{%- endmacro %}

{% macro reason_count(reasons) %}
    {%- if target.type == 'duckdb' -%}{{ duckdb__reason_count(reasons) }}{%- else -%}{{ default__reason_count(reasons) }}{%- endif -%}
{% endmacro %}

{% macro default__reason_count(reasons) -%}
    jsonb_array_length({{ reasons }})
{%- endmacro %}

{% macro duckdb__reason_count(reasons) -%}
    len({{ reasons }})::integer
{%- endmacro %}

{#- A derived table `reason` (code, contribution, position from 1) for a lateral join. -#}
{% macro reason_rows(reasons) %}
    {%- if target.type == 'duckdb' -%}{{ duckdb__reason_rows(reasons) }}{%- else -%}{{ default__reason_rows(reasons) }}{%- endif -%}
{% endmacro %}

{% macro default__reason_rows(reasons) -%}
    (
        select
            element.item ->> 'code' as code,
            (element.item ->> 'contribution')::double precision as contribution,
            element.position::integer as position
        from jsonb_array_elements({{ reasons }}) with ordinality as element (item, position)
    ) as reason
{%- endmacro %}

{% macro duckdb__reason_rows(reasons) -%}
    (
        select item.code, item.contribution, position::integer as position
        from (select unnest({{ reasons }}) as item, generate_subscripts({{ reasons }}, 1) as position)
    ) as reason
{%- endmacro %}

{#- An amount in minor units as an exact number of major units. -#}
{% macro major_units(minor, units) %}
    {%- if target.type == 'duckdb' -%}{{ duckdb__major_units(minor, units) }}{%- else -%}{{ default__major_units(minor, units) }}{%- endif -%}
{% endmacro %}

{% macro default__major_units(minor, units) -%}
    ({{ minor }}::numeric / {{ units }})::numeric(18, 4)
{%- endmacro %}

{#- DuckDB divides as floating point. 1, 0.1, 0.01 and so on are exact as decimals, and so is the product. -#}
{% macro duckdb__major_units(minor, units) -%}
    ({{ minor }}::decimal(19, 0) * (1.0 / {{ units }})::decimal(5, 4))::decimal(18, 4)
{%- endmacro %}

{#- The mean of a floating-point column that does not depend on the order of the rows. -#}
{% macro steady_mean(column) %}
    {%- if target.type == 'duckdb' -%}{{ duckdb__steady_mean(column) }}{%- else -%}{{ default__steady_mean(column) }}{%- endif -%}
{% endmacro %}

{% macro default__steady_mean(column) -%}
    avg({{ column }}::numeric)::double precision
{%- endmacro %}

{#- Scores have at most 17 digits, so this rounds only digits that a floating-point sum does not have either. -#}
{% macro duckdb__steady_mean(column) -%}
    (sum(({{ column }})::decimal(38, 18))::double / count({{ column }}))
{%- endmacro %}

{#- The most frequent value; of equally frequent values the smallest. -#}
{% macro most_frequent(column) %}
    {%- if target.type == 'duckdb' -%}{{ duckdb__most_frequent(column) }}{%- else -%}{{ default__most_frequent(column) }}{%- endif -%}
{% endmacro %}

{% macro default__most_frequent(column) -%}
    mode() within group (order by {{ column }})
{%- endmacro %}

{% macro duckdb__most_frequent(column) -%}
    mode({{ column }} order by {{ column }})
{%- endmacro %}

{% macro start_of_hour(moment) %}
    {%- if target.type == 'duckdb' -%}{{ duckdb__start_of_hour(moment) }}{%- else -%}{{ default__start_of_hour(moment) }}{%- endif -%}
{% endmacro %}

{% macro default__start_of_hour(moment) -%}
    date_trunc('hour', {{ moment }}, 'UTC')
{%- endmacro %}

{#- dbt/profiles.yml sets the session's time zone to UTC. -#}
{% macro duckdb__start_of_hour(moment) -%}
    date_trunc('hour', {{ moment }})
{%- endmacro %}

{#- A query of the column `date_day`: each day from first to last. -#}
{% macro days_between(first, last, relation) %}
    {%- if target.type == 'duckdb' -%}{{ duckdb__days_between(first, last, relation) }}{%- else -%}{{ default__days_between(first, last, relation) }}{%- endif -%}
{% endmacro %}

{% macro default__days_between(first, last, relation) -%}
    select days_of_all.moment::date as date_day
    from {{ relation }}
    cross join lateral generate_series({{ first }}::timestamp, {{ last }}::timestamp, interval '1 day')
        as days_of_all (moment)
{%- endmacro %}

{% macro duckdb__days_between(first, last, relation) -%}
    select unnest(generate_series({{ first }}::timestamp, {{ last }}::timestamp, interval '1 day'))::date as date_day
    from {{ relation }}
{%- endmacro %}
