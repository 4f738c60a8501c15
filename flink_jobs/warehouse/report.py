"""The analyst's page: one HTML file with its charts inside, that opens without a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from html import escape
from typing import Any

import psycopg

from flink_jobs.errors import UserError
from flink_jobs.warehouse import svg
from flink_jobs.warehouse.paths import ANALYSES
from flink_jobs.warehouse.queries import Answer, SqlFile, ask, last_closed_day, read_sql_files

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2530; --paper: #fff; --bar: #2563a8; --grid: #d9dee5; --soft: #5b6673 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaef; --paper: #14191f; --bar: #6ea8e0; --grid: #333c47; --soft: #9aa5b1 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 76rem;
       margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.05rem; margin: 0 0 .5rem }
p { color: var(--soft); margin: .2rem 0 }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 34rem), 1fr)); gap: 2rem;
       margin-top: 2rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--grid) } .n { text-align: right }
svg { width: 100%; height: auto } .bar { fill: var(--bar) } .line { stroke: var(--bar); stroke-width: 2 }
.grid { stroke: var(--grid) } .tick { font-size: 11px; fill: var(--soft) } .mid { text-anchor: middle }
.end { text-anchor: end }
"""


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
    sections = [_section(query, answer, _chart(name, answer)) for name, (query, answer) in findings.answers.items()]
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Card fraud on {findings.day}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
        f"<h1>Card fraud on {findings.day}</h1>"
        f"<p>Days and hours are UTC and of the transactions. Written {written} UTC from the gold marts.</p>"
        f"<main>{''.join(sections)}</main></body></html>\n"
    )


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
    table = "" if chart else _table(answer)
    return f"<section><h2>{escape(query.title)}</h2>{chart}{table}<p>sql/analysis/{query.name}.sql</p></section>"


def _table(answer: Answer) -> str:
    if not answer.rows:
        return "<p>Nothing.</p>"
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in answer.columns)
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in answer.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cell(value: Any) -> str:  # noqa: ANN401 - whatever a database column holds
    if value is None:
        return "<td>-</td>"
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return f'<td class="n">{value:,}</td>'
    if isinstance(value, datetime):
        return f"<td>{value:%Y-%m-%d %H:%M}</td>"
    return f"<td>{escape(str(value))}</td>"
