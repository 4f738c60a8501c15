"""The SQL files of people: an analyst's questions (sql/analysis) and the checks of data quality (sql/quality)."""

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
    """One query. It may use ``%(day)s``, a UTC day.

    Attributes:
        name: of the file, without its ending.
        title: the question it answers, or what holds where the check finds nothing.
        sql: the text.
        severity: of a check: ``error`` keeps a day from being published, ``warn`` does not. None for a question.
    """

    name: str
    title: str
    sql: str
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Columns and rows of a result."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def read_sql_files(folder: Path) -> dict[str, SqlFile]:
    """Return the queries of a folder by name, in the order of the names.

    Raises:
        UserError: there are none, or one does not say what it is for.
    """
    found = {}
    for path in sorted(folder.glob("*.sql")):
        text = path.read_text(encoding="utf-8")
        head = {key: value.strip() for key, value in _HEADER.findall(text)}
        title = head.get("Question") or head.get("Check")
        severity = head.get("Severity")
        if not title or severity not in ({"error", "warn"} if "Check" in head else {None}):
            raise UserError(
                f"{path} does not say what it is for",
                "begin it with `-- Question: ...`, or with `-- Check: ...` and `-- Severity: error` or `warn`",
            )
        found[path.stem] = SqlFile(path.stem, title, text, cast("Severity | None", severity))
    if not found:
        raise UserError(f"there are no queries in {folder}", "check the checkout")
    return found


def ask(connection: psycopg.Connection[Any], query: SqlFile, day: date) -> Answer:
    """Run a query for a day.

    Raises:
        psycopg.Error: the database refuses it.
    """
    cursor = connection.execute(query.sql.encode(), {"day": day})
    return Answer(tuple(column.name for column in cursor.description or ()), cursor.fetchall())


def last_closed_day(connection: psycopg.Connection[Any]) -> date | None:
    """Return "yesterday": the last day of event time that is over, which is the one before the newest event's.

    Where all events are of one day it is that day; None when there are none. The newest event may be years old: the
    marts of a replayed history look the same as they did then.
    """
    row = connection.execute(
        """
        SELECT coalesce(
            (SELECT max(occurred_on) FROM gold.fct_daily_fraud_summary
             WHERE occurred_on < (SELECT max(occurred_on) FROM gold.fct_daily_fraud_summary)),
            (SELECT max(occurred_on) FROM gold.fct_daily_fraud_summary))
        """
    ).fetchone()
    return None if row is None else row[0]
