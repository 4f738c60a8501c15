"""The analyst's page: one HTML file with its charts inside, that opens without a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from html import escape

import psycopg

from flink_jobs.errors import UserError
from flink_jobs.warehouse import html, svg
from flink_jobs.warehouse.paths import ANALYSES
from flink_jobs.warehouse.queries import Answer, SqlFile, ask, last_closed_day, read_sql_files


@dataclass(frozen=True, slots=True)
class Findings:
    """What the gold marts say of a day: each question with its answer."""

    day: date
    answers: Mapping[str, tuple[SqlFile, Answer]]

    def answer(self, name: str) -> Answer:
        """Return the answer of one question, by the name of its file."""
        return self.answers[name][1]


def find(dsn: str, day: date | None = None) -> Findings:
    """Ask every question of sql/analysis about a day.

    Args:
        dsn: of somebody who may read gold; the analyst's is enough.
        day: a UTC day; default: the last one that is over.

    Raises:
        UserError: the marts are not there or empty, or have nothing of that day.
    """
    try:
        with psycopg.connect(dsn) as connection:
            day = day or last_closed_day(connection)
            if day is None:
                raise UserError("the marts are empty", "decide some transactions first: `make demo`")
            answers = {name: (query, ask(connection, query, day)) for name, query in read_sql_files(ANALYSES).items()}
    except psycopg.errors.UndefinedTable as error:
        raise UserError(f"the marts are not built ({error.diag.message_primary})", "run `make marts`") from None
    findings = Findings(day, answers)
    if not findings.answer("fraud_by_category").rows:
        raise UserError(f"no transaction is of {day}", "name another day; `sql/analysis/daily_trend.sql` lists them")
    return findings


def page(findings: Findings, now: datetime | None = None) -> str:
    """Return the HTML page."""
    written = (now or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M")
    note = f"Days and hours are UTC and of the transactions. Written {written} UTC from the gold marts."
    sections = [_section(query, answer, _chart(name, answer)) for name, (query, answer) in findings.answers.items()]
    return html.document(f"Card fraud on {findings.day}", note, sections)


def _chart(name: str, answer: Answer) -> str:
    if name == "daily_trend" and answer.rows:
        days = [f"{row[0]:%d %b}" for row in answer.rows]
        transactions = svg.line(days, [float(row[1]) for row in answer.rows], "transactions by day")
        alerts = svg.columns(days, [float(row[2]) for row in answer.rows], "alerts by day")
        return f"<p>Transactions</p>{transactions}<p>Alerts</p>{alerts}"
    if name == "fraud_by_hour":
        return svg.columns(
            [str(row[0]) for row in answer.rows], [float(row[2]) for row in answer.rows], "alerts by hour"
        )
    return ""


def _section(query: SqlFile, answer: Answer, chart: str) -> str:
    """Return a question, its chart and its table; the chart of hours and days says more than their long tables."""
    table = "" if chart else html.table(answer.columns, answer.rows)
    return f"<section><h2>{escape(query.title)}</h2>{chart}{table}<p>sql/analysis/{query.name}.sql</p></section>"
