{#- A key from text columns: equal parts give equal keys, and ('a', 'bc') gives another key than ('ab', 'c'). -#}
{% macro key_of(columns) -%}
    md5(jsonb_build_array({{ columns | join(', ') }})::text)
{%- endmacro %}
