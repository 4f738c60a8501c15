"""Closed days: days of event time that are complete, and which of them the quality checks must still pass.

A day is closed when the clock of the database is an hour past its end, and either a later day has events or no row of
the day was loaded in the last hour. The clock of the database decides, not the newest event: a card with a fast clock
closes no day. The second condition keeps the last day of a replayed history open while it is being loaded.

``ops.quality_days`` holds for each day the load time of its newest row, and the load time that passed the checks. A day
is due when rows were loaded after its checks, also if the orchestration was down for days or the events are old.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import psycopg

MOST_DAYS: Final = 31
"""Days that one run checks; the next run checks the following ones."""
_NOTE: Final = """
    INSERT INTO ops.quality_days AS known (day, newest_loaded_at)
    SELECT (event_time AT TIME ZONE 'UTC')::date, max(loaded_at) FROM raw.decisions
    WHERE loaded_at > coalesce((SELECT max(newest_loaded_at) FROM ops.quality_days
        WHERE newest_loaded_at <= now()) - interval '15 minutes', '-infinity')
    GROUP BY 1
    ON CONFLICT (day) DO UPDATE SET newest_loaded_at = greatest(known.newest_loaded_at, EXCLUDED.newest_loaded_at)"""
_CLOSED: Final = """
    WITH past AS (
        SELECT *, max(day) OVER () AS last_day FROM ops.quality_days
        WHERE day <= (now() AT TIME ZONE 'UTC')::date
    ),
    closed AS (
        SELECT * FROM past
        WHERE day < ((now() - interval '1 hour') AT TIME ZONE 'UTC')::date
            AND (day < last_day OR newest_loaded_at < now() - interval '1 hour')
    )"""
_DUE: Final = f"""{_CLOSED}
    SELECT day::text, newest_loaded_at::text FROM closed
    WHERE trusted_loaded_at IS NULL OR trusted_loaded_at < newest_loaded_at ORDER BY day LIMIT %s"""  # noqa: S608
_LAST: Final = f"""{_CLOSED}
    SELECT day::text, newest_loaded_at::text FROM ops.quality_days WHERE day = coalesce(
        (SELECT max(day) FROM closed), (SELECT max(day) FROM past), (SELECT min(day) FROM ops.quality_days))"""  # noqa: S608
_ONE: Final = "SELECT day::text, newest_loaded_at::text FROM ops.quality_days WHERE day = %s"
_TRUST: Final = """
    UPDATE ops.quality_days AS known SET trusted_loaded_at = checked.until, trusted_at = now()
    FROM unnest(%s::date[], %s::timestamptz[]) AS checked (day, until)
    WHERE known.day = checked.day"""


def days_to_check(dsn: str, day: str | None = None) -> dict[str, str]:
    """Return the closed days that the quality checks must pass, oldest first, at most ``MOST_DAYS``.

    Without a due day, return the last closed day, so that every run checks something; without a closed day, the newest
    day up to today.

    Args:
        dsn: connection string of the transformer or the owner.
        day: check this day (YYYY-MM-DD) instead.

    Returns:
        For each day, the load time of its newest row: the checks prove nothing about rows that are loaded later.

    Raises:
        ValueError: there is no decision, or none of that day.
    """
    with psycopg.connect(dsn) as connection:
        connection.execute(_NOTE)
        if day is not None:
            found = connection.execute(_ONE, (day,)).fetchall()
        else:
            found = connection.execute(_DUE.encode(), (MOST_DAYS,)).fetchall()
            found = found or connection.execute(_LAST.encode()).fetchall()
    if not found:
        what = f"has no decision of {day}" if day else "is empty: the detector has not scored a transaction yet"
        message = f"raw.decisions {what}"
        raise ValueError(message)
    return dict(found)


def trust_days(dsn: str, days: Mapping[str, str]) -> None:
    """Record that days passed every check with severity ``error``.

    Args:
        dsn: connection string of the transformer or the owner.
        days: answer of ``days_to_check``.
    """
    with psycopg.connect(dsn) as connection:
        connection.execute(_TRUST, (list(days), list(days.values())))
