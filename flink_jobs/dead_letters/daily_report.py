"""The daily report of dead letters: their number by reason and stage, compared with the week before.

The report shows the id, topic, partition and offset of a record and never its payload. ``streamflow dlq show`` shows
the payload to accounts that may read the dead-letter topic.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import psycopg

from flink_jobs.reports.charts import bar_chart
from flink_jobs.reports.pages import Section, answers_page, chart

WEEK: Final = 7
"""Days before a day that give the usual number; also how far back missing reports are made up for."""
_UNREPORTED: Final = """
    SELECT DISTINCT (processing_time AT TIME ZONE 'UTC')::date FROM raw.dead_letters
    WHERE processing_time >= greatest(
        (SELECT max(set_aside_on) FROM ops.dead_letter_report)::timestamp AT TIME ZONE 'UTC',
        (SELECT max(processing_time) FROM raw.dead_letters) - %(week)s * interval '1 day')
    ORDER BY 1"""
_NOTE: Final = """
    WITH letters AS (
        SELECT *, (processing_time AT TIME ZONE 'UTC')::date = %(day)s AS is_of_the_day FROM raw.dead_letters
        WHERE processing_time >= (%(day)s::date - %(week)s)::timestamp AT TIME ZONE 'UTC'
            AND processing_time < (%(day)s::date + 1)::timestamp AT TIME ZONE 'UTC'
    ),
    newest AS (
        SELECT DISTINCT ON (stage, reason, disposition) * FROM letters WHERE is_of_the_day
        ORDER BY stage, reason, disposition, processing_time_ms DESC, dlq_id
    ),
    counted AS (
        SELECT stage, reason, disposition, count(*) FILTER (WHERE is_of_the_day) AS letters,
            count(*) FILTER (WHERE NOT is_of_the_day) / %(week)s::double precision AS usual_letters
        FROM letters GROUP BY stage, reason, disposition
    )
    INSERT INTO ops.dead_letter_report
        (set_aside_on, stage, reason, disposition, letters, usual_letters, example_id, example_place, example_detail)
    SELECT %(day)s, stage, reason, disposition, counted.letters, usual_letters, dlq_id,
        source_topic || '-' || source_partition || '@' || source_offset, detail
    FROM counted JOIN newest USING (stage, reason, disposition)"""
_OF_THE_DAY: Final = """
    SELECT reason, stage, disposition, letters, round(usual_letters::numeric, 1) AS usual_a_day,
        example_place AS example, example_detail AS what_is_wrong
    FROM ops.dead_letter_report WHERE set_aside_on = %s ORDER BY letters DESC, reason, stage"""
_TREND: Final = """
    SELECT days.day::date, coalesce(sum(letters), 0)
    FROM generate_series(%(day)s::date - 2 * %(week)s + 1, %(day)s::date, interval '1 day') AS days (day)
    LEFT JOIN ops.dead_letter_report ON set_aside_on = days.day::date
    GROUP BY 1 ORDER BY 1"""


@dataclass(frozen=True, slots=True)
class DailyReport:
    """The report of one day: its dead letters, the rows in ``ops.dead_letter_report`` and the page."""

    day: date
    letters: int
    groups: int
    path: Path


def unreported_days(dsn: str) -> list[date]:
    """Return the UTC days with dead letters from the last reported day on; that report may have been incomplete."""
    with psycopg.connect(dsn) as connection:
        return [row[0] for row in connection.execute(_UNREPORTED, {"week": WEEK})]


def report_day(dsn: str, day: date, folder: Path) -> DailyReport:
    """Count a day's dead letters into ``ops.dead_letter_report`` and write its page. Repeating it changes nothing.

    Args:
        dsn: connection string of the transformer.
        day: UTC day on which the detector rejected the records.
        folder: folder for ``dead-letters-DAY.html``.
    """
    with psycopg.connect(dsn) as connection:
        connection.execute("DELETE FROM ops.dead_letter_report WHERE set_aside_on = %s", (day,))
        connection.execute(_NOTE, {"day": day, "week": WEEK})
        cursor = connection.execute(_OF_THE_DAY, (day,))
        columns, rows = [column.name for column in cursor.description or ()], cursor.fetchall()
        trend = connection.execute(_TREND, {"day": day, "week": WEEK}).fetchall()
    letters = sum(row[columns.index("letters")] for row in rows)
    path = folder / f"dead-letters-{day}.html"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(_page(day, columns, rows, trend), encoding="utf-8")
    return DailyReport(day, letters, len(rows), path)


def _page(day: date, columns: list[str], rows: list[tuple[object, ...]], trend: list[tuple[date, int]]) -> str:
    week_before = day - timedelta(days=WEEK)
    days, counts = [f"{of:%d %b}" for of, _ in trend], [float(count) for _, count in trend]
    note = (
        f"Days are in UTC. The usual number is the mean of the {WEEK} days from {week_before} on. "
        "`streamflow dlq show` shows an example."
    )
    by_day = chart("Dead letters by day", bar_chart("dead letters by day", days, counts))
    sections = [
        Section("Which records were rejected, and why?", columns, rows),
        Section("How many dead letters on each day?", ("day", "dead letters"), trend, [by_day]),
    ]
    return answers_page(f"Dead letters of {day}", note, sections)
