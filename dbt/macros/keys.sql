{#- A key from text columns: equal parts give equal keys, and ('a', 'bc') gives another key than ('ab', 'c'). -#}
{% macro key_of(columns) %}
    {%- if target.type == 'duckdb' -%}{{ duckdb__key_of(columns) }}{%- else -%}{{ default__key_of(columns) }}{%- endif -%}
{% endmacro %}

{% macro default__key_of(columns) -%}
    md5(jsonb_build_array({{ columns | join(', ') }})::text)
{%- endmacro %}

{#- The text that Postgres gives a JSON array: a space after each comma. So a transaction has one key in both. -#}
{% macro duckdb__key_of(columns) -%}
    md5('[' || {% for column in columns -%}
        coalesce(to_json({{ column }})::varchar, 'null'){{ " || ', ' || " if not loop.last }}
    {%- endfor %} || ']')
{%- endmacro %}
