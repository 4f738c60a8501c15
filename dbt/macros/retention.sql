{#- The moment from which retention has deleted no row of a raw table: every deleted row was loaded before it. -#}
{% macro kept_since(raw_table) %}
    {%- if target.type == 'duckdb' -%}{{ duckdb__kept_since(raw_table) }}{%- else -%}{{ default__kept_since(raw_table) }}{%- endif -%}
{% endmacro %}

{% macro duckdb__kept_since(raw_table) -%}
    '-infinity'::timestamptz
{%- endmacro %}

{% macro default__kept_since(raw_table) -%}
    coalesce(
        (select max(log.loaded_before) from ops.retention_log as log where log.table_name = '{{ raw_table }}'),
        '-infinity'
    )
{%- endmacro %}

{#-
    Stops a run with --full-refresh if it would erase rows of gold that raw no longer holds. The variable
    erase_gold_history allows it.
-#}
{% macro refuse_to_erase_history() %}
    {%- if target.type == 'duckdb' -%}{{ duckdb__refuse_to_erase_history() }}{%- else -%}{{ default__refuse_to_erase_history() }}{%- endif -%}
{% endmacro %}

{#- Files that were removed from the lake held the oldest loads, so gold then has rows older than the oldest in the lake. -#}
{% macro duckdb__refuse_to_erase_history() %}
    {%- if execute and flags.FULL_REFRESH and not var('erase_gold_history') -%}
        {%- set exists = run_query(
            "select count(*) from information_schema.tables where table_schema = 'gold' and table_name = 'fct_transactions'"
        ) -%}
        {%- if exists.rows[0][0] -%}
            {%- set lost = run_query(
                "select count(*) from gold.fct_transactions"
                ~ " where loaded_at < (select min(loaded_at) from " ~ decisions_relation() ~ ")"
            ).rows[0][0] -%}
            {%- if lost > 0 -%}
                {{ exceptions.raise_compiler_error(
                    "--full-refresh would erase " ~ lost ~ " rows of gold.fct_transactions that the lake no longer holds. "
                    ~ "Build without --full-refresh, or pass --vars '{erase_gold_history: true}' to lose them"
                ) }}
            {%- endif -%}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}

{% macro default__refuse_to_erase_history() %}
    {%- if execute and flags.FULL_REFRESH and not var('erase_gold_history') -%}
        {%- set facts = [
            ('fct_transactions', 'raw.decisions', 'held.customer_id = gold.customer_id and held.transaction_id = gold.transaction_id'),
            ('fct_fraud_alerts', 'raw.alerts', 'held.alert_id = gold.alert_id'),
            ('fct_dead_letters', 'raw.dead_letters', 'held.dlq_id = gold.dead_letter_id'),
        ] -%}
        {%- for fact, raw_table, is_same in facts -%}
            {%- set exists = run_query("select to_regclass('gold." ~ fact ~ "') is not null") -%}
            {%- if exists.rows[0][0] -%}
                {%- set lost = run_query(
                    "select count(*) from gold." ~ fact ~ " as gold"
                    ~ " where not exists (select from " ~ raw_table ~ " as held where " ~ is_same ~ ")"
                ).rows[0][0] -%}
                {%- if lost > 0 -%}
                    {{ exceptions.raise_compiler_error(
                        "--full-refresh would erase " ~ lost ~ " rows of gold." ~ fact ~ " that " ~ raw_table
                        ~ " no longer holds. Build without --full-refresh, or pass --vars '{erase_gold_history: true}'"
                        ~ " to lose them"
                    ) }}
                {%- endif -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{% endmacro %}

{#-
    Deletes the reasons of the transactions that the build processes again. The changed decision may have fewer reasons
    or none, so the new rows alone do not show which old rows are stale.
-#}
{% macro delete_reasons_of_changed_transactions() %}
    {%- if is_incremental() -%}
        delete from {{ this }}
        where transaction_key in (
            select changed.transaction_key from {{ ref('int_transactions') }} as changed
            where {{ is_new('changed.loaded_at', 'changed.occurred_on') }}
        )
    {%- endif -%}
{% endmacro %}
