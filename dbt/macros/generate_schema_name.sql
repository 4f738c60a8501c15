{#- The layers are schemas of the database, made by sql/migrations: their names are used as they are. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name or target.schema }}
{%- endmacro %}
