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

{#-
    The model and the view of a raw table have equally many rows. Rows arrive during the build, so the test leaves out
    rows loaded in the last 5 seconds before the model's newest row. Gold keeps the rows that retention deletes from raw,
    so the test leaves out rows that were loaded before the latest deletion could reach.
-#}
{% test same_count(model, of, raw_table) %}
    with settled as (
        select
            {{ kept_since(raw_table) }} as since,
            max(loaded_at) - interval '5 seconds' as until
        from {{ model }}
    )

    select ours.total as here, theirs.total as there
    from (select count(*) as total from {{ model }}, settled where loaded_at between since and until) as ours
    cross join (select count(*) as total from {{ of }}, settled where loaded_at between since and until) as theirs
    where ours.total <> theirs.total
{% endtest %}
