{#- Our generic tests; dbt packages cannot be downloaded everywhere. Each test selects the rows that violate it. -#}

{% test unique_together(model, columns) %}
    select {{ columns | join(', ') }}, count(*) as copies
    from {{ model }}
    group by {{ columns | join(', ') }}
    having count(*) > 1
{% endtest %}

{% test between(model, column_name, low=none, high=none) %}
    select {{ column_name }}
    from {{ model }}
    where false
        {%- if low is not none %} or {{ column_name }} < {{ low }}{% endif %}
        {%- if high is not none %} or {{ column_name }} > {{ high }}{% endif %}
{% endtest %}

{% test holds(model, expression) %}
    select *
    from {{ model }}
    where not coalesce({{ expression }}, false)
{% endtest %}

{#- Rows arrive during the build, so the test leaves out rows loaded in the last 5 seconds before the model's newest row. -#}
{% test same_count(model, of) %}
    with settled as (
        select max(loaded_at) - interval '5 seconds' as until from {{ model }}
    )

    select ours.total as here, theirs.total as there
    from (select count(*) as total from {{ model }}, settled where loaded_at <= until) as ours
    cross join (select count(*) as total from {{ of }}, settled where loaded_at <= until) as theirs
    where ours.total <> theirs.total
{% endtest %}
