-- Check: no merchant, category or channel of the day is or has a card number in the clear.
-- Severity: warn
-- A text counts with 13 to 19 digits that pass the Luhn check, and no letter or digit beside them. One in ten numeric
-- ids passes it by chance, so a field is reported when more than a quarter of its different numbers pass.
with texts as (
    select
        text_fields.field_name,
        regexp_replace(
            regexp_substr(
                text_fields.content, '(?<![0-9A-Za-z_])[0-9](?:[ .-]?[0-9]){12,18}(?![0-9A-Za-z_])'
            ), '[ .-]', '', 'g'
        ) as digits,
        decisions.transaction_id
    from raw.decisions as decisions
    cross join
        lateral (
            values ('merchant', decisions.merchant), ('category', decisions.category), ('channel', decisions.channel)
        ) as text_fields (field_name, content)
    where
        decisions.event_time >= %(day)s::timestamp at time zone 'UTC'
        and decisions.event_time < (%(day)s::date + 1)::timestamp at time zone 'UTC'
        and text_fields.content ~ '[0-9]([ .-]?[0-9]){12}'
),

numbers as (
    select
        field_name,
        digits,
        count(*) as decision_count,
        min(transaction_id) as one_transaction_id
    from texts
    where digits ~ '[1-9]'
    group by field_name, digits
),

judged as (
    select
        numbers.*,
        (
            select
                mod(
                    sum(
                        case
                            when mod(reversed.place, 2) = 1 then parsed.digit
                            when parsed.digit > 4 then parsed.digit * 2 - 9
                            else parsed.digit * 2
                        end
                    ), 10
                ) = 0
            from
                regexp_split_to_table(reverse(numbers.digits), '') with ordinality as reversed (one, place)
            cross join lateral (select reversed.one::integer as digit) as parsed
        ) as is_valid
    from numbers
),

shares as (
    select
        *,
        count(*) filter (where is_valid) over (partition by field_name) > 0.25 * count(*) over (partition by field_name)
            as is_more_than_chance
    from judged
)

select
    field_name,
    '****' || right(digits, 4) as last_digits,
    decision_count,
    one_transaction_id
from shares
where is_valid and is_more_than_chance
