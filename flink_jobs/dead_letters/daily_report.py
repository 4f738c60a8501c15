"""The daily report of dead letters: how many for which reason, at which stage, against the week before.

It names records by id and place and shows no payload: `streamflow dlq show` does, to who may read the topic.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import psycopg

from flink_jobs.warehouse import html, svg

WEEK: Final = 7
"""Days that a day is compared with, and days without a report that are caught up with."""
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
class Report:
    """What became of a day's report."""

    day: date
    letters: int
    reasons: int
    path: Path


def unreported_days(dsn: str) -> list[date]:
    """Return the UTC days with dead letters since the last report, its own again: it may not have been over."""
    with psycopg.connect(dsn) as connection:
        return [row[0] for row in connection.execute(_UNREPORTED, {"week": WEEK})]


def report_day(dsn: str, day: date, folder: Path) -> Report:
    """Count a day's dead letters into ``ops.dead_letter_report`` and write its page; again is as once.

    Args:
        dsn: of the transformer.
        day: UTC day on which the detector set the records aside.
        folder: where ``dead-letters-DAY.html`` goes.
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
    return Report(day, letters, len(rows), path)


def _page(day: date, columns: list[str], rows: list[tuple[object, ...]], trend: list[tuple[date, int]]) -> str:
    week_before = day - timedelta(days=WEEK)
    labels, counts = [f"{of:%d %b}" for of, _ in trend], [float(count) for _, count in trend]
    note = f"UTC. Usual is the mean of the days from {week_before} on. An example is read with `streamflow dlq show`."
    sections = [
        f"<section><h2>What was set aside, and why?</h2>{html.table(columns, rows)}</section>",
        f"<section><h2>How many a day?</h2>{svg.columns(labels, counts, 'dead letters by day')}</section>",
    ]
    return html.document(f"Dead letters of {day}", note, sections)
