{#- A key from text columns: equal parts give an equal key, and 'a', 'bc' another than 'ab', 'c'. -#}
{% macro key_of(columns) -%}
    md5(jsonb_build_array({{ columns | join(', ') }})::text)
{%- endmacro %}
