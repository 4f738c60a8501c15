{#-
    The share of alerts shrunk towards the share of all: with few transactions the rate of everybody counts, with many
    the own one (an empirical-Bayes estimate whose prior is worth `weight` transactions).
    Band: high from three times everybody's rate and at least two alerts, raised from one and a half times, else usual.
-#}
{% macro shrunk_ratio(alerts, transactions, base_ratio, weight=20) -%}
    ({{ alerts }} + {{ weight }} * {{ base_ratio }}) / ({{ transactions }} + {{ weight }})
{%- endmacro %}

{% macro risk_band(ratio, base_ratio, alerts) -%}
    case
        when {{ alerts }} >= 2 and {{ ratio }} >= 3 * {{ base_ratio }} then 'high'
        when {{ alerts }} >= 1 and {{ ratio }} >= 1.5 * {{ base_ratio }} then 'raised'
        else 'usual'
    end
{%- endmacro %}
