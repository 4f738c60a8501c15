{#- Returns the name of the layer without a prefix: sql/migrations creates the layers as database schemas. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name or target.schema }}
{%- endmacro %}
