"""The analyst's page on one day of the gold marts: one HTML file that opens without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import psycopg

from flink_jobs.errors import UserError
from flink_jobs.reports.charts import bar_chart, trend_chart
from flink_jobs.reports.pages import Chart, Section, answers_page, chart
from flink_jobs.warehouse.paths import ANALYSES
from flink_jobs.warehouse.queries import Answer, SqlFile, ask, last_closed_day, read_sql_files


@dataclass(frozen=True, slots=True)
class Findings:
    """The answers of the gold marts for one day, by the file name of the question."""

    day: date
    answers: Mapping[str, tuple[SqlFile, Answer]]

    def answer(self, name: str) -> Answer:
        """Return the answer to one question, by the name of its file."""
        return self.answers[name][1]


def find(dsn: str, day: date | None = None) -> Findings:
    """Run every query of sql/analysis for one day.

    Args:
        dsn: connection string of a login that may read gold; the analyst's is enough.
        day: UTC day of event time; default: the last closed day.

    Raises:
        UserError: the marts do not exist, are empty, or have no transaction of that day.
    """
    try:
        with psycopg.connect(dsn) as connection:
            day = day or last_closed_day(connection)
            if day is None:
                raise UserError("the marts are empty", "score some transactions first: `make demo`")
            answers = {name: (query, ask(connection, query, day)) for name, query in read_sql_files(ANALYSES).items()}
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        what = f"the marts of this release are not built ({error.diag.message_primary})"
        raise UserError(what, "run `make marts`") from None
    findings = Findings(day, answers)
    if not findings.answer("fraud_by_category").rows:
        raise UserError(
            f"the marts have no transaction on {day}", "choose another day; `sql/analysis/daily_trend.sql` lists them"
        )
    return findings


def page(findings: Findings, now: datetime | None = None) -> str:
    """Return the HTML page."""
    written = (now or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M")
    note = f"Days and hours are in UTC and in event time. Written {written} UTC from the gold marts."
    sections = [
        Section(query.title, answer.columns, answer.rows, _charts(name, answer), f"sql/analysis/{query.name}.sql")
        for name, (query, answer) in findings.answers.items()
    ]
    return answers_page(f"Card fraud on {findings.day}", note, sections)


def _charts(name: str, answer: Answer) -> Sequence[Chart]:
    if name == "daily_trend" and answer.rows:
        days = [f"{row[0]:%d %b}" for row in answer.rows]
        transactions = trend_chart("transactions by day", days, [float(row[1]) for row in answer.rows])
        alerts = bar_chart("alerts by day", days, [float(row[2]) for row in answer.rows])
        return [chart("Transactions by day", transactions), chart("Alerts by day", alerts)]
    if name == "fraud_by_hour":
        alerts = bar_chart(
            "alerts by hour", [str(row[0]) for row in answer.rows], [float(row[2]) for row in answer.rows]
        )
        return [chart("Alerts by hour", alerts)]
    return []
