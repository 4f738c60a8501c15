"""Reads and runs the SQL files: questions of analysts (sql/analysis) and data-quality checks (sql/quality)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal, cast

import psycopg

from flink_jobs.errors import UserError

Severity = Literal["error", "warn"]
_HEADER = re.compile(r"-- (Question|Check|Severity): (.+)")


@dataclass(frozen=True, slots=True)
class SqlFile:
    """One query. It may use the parameter ``%(day)s``, a UTC day.

    Attributes:
        name: file name without the suffix.
        title: the question, or the statement that is true if the check finds no rows.
        sql: text of the query.
        severity: severity of a check: ``error`` blocks publication of the day, ``warn`` does not. None for a question.
    """

    name: str
    title: str
    sql: str
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Columns and rows of a query's result."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def read_sql_files(folder: Path) -> dict[str, SqlFile]:
    """Return the queries of a folder by name, sorted by name.

    Raises:
        UserError: the folder has no query, or a query has no header.
    """
    found = {}
    for path in sorted(folder.glob("*.sql")):
        text = path.read_text(encoding="utf-8")
        head = {key: value.strip() for key, value in _HEADER.findall(text)}
        title = head.get("Question") or head.get("Check")
        severity = head.get("Severity")
        if not title or severity not in ({"error", "warn"} if "Check" in head else {None}):
            raise UserError(
                f"{path} has no header",
                "start the file with `-- Question: ...`, or with `-- Check: ...` and `-- Severity: error` or `warn`",
            )
        found[path.stem] = SqlFile(path.stem, title, text, cast("Severity | None", severity))
    if not found:
        raise UserError(f"{folder} has no queries", "restore the folder from the repository")
    return found


def ask(connection: psycopg.Connection[Any], query: SqlFile, day: date) -> Answer:
    """Run a query for a day.

    Raises:
        psycopg.Error: the database rejects the query.
    """
    cursor = connection.execute(query.sql.encode(), {"day": day})
    return Answer(tuple(column.name for column in cursor.description or ()), cursor.fetchall())


def last_closed_day(connection: psycopg.Connection[Any]) -> date | None:
    """Return the last closed day of event time in gold (see ``closed_days``); without one, the newest day up to today.

    A day is closed by the clock of the database and by load times, so a card with a fast clock closes no day. Without
    events, return None.
    """
    row = connection.execute(
        """
        WITH days AS (
            SELECT occurred_on, loaded_at,
                max(occurred_on) FILTER (WHERE occurred_on <= (now() AT TIME ZONE 'UTC')::date) OVER () AS last_day
            FROM (
                SELECT occurred_on, max(loaded_at) AS loaded_at FROM gold.fct_daily_fraud_summary GROUP BY 1
            ) AS of_day
        )
        SELECT coalesce(
            max(occurred_on) FILTER (
                WHERE occurred_on < ((now() - interval '1 hour') AT TIME ZONE 'UTC')::date
                AND (occurred_on < last_day OR loaded_at < now() - interval '1 hour')),
            max(last_day), min(occurred_on))
        FROM days
        """
    ).fetchone()
    return None if row is None else row[0]
