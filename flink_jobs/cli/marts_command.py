"""`streamflow marts`: from the tables the archive job wrote to gold marts and the analyst's page."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import psycopg
import typer

from flink_jobs.cli.output import Output, OutputOption, emit, out, say, table
from flink_jobs.errors import UserError
from flink_jobs.local.stack import Stack

if TYPE_CHECKING:
    from pathlib import Path

    from flink_jobs.settings import Settings
    from flink_jobs.warehouse.dbt_project import Dbt
    from flink_jobs.warehouse.report import Findings

SHOWN = ("fraud_by_rule", "fraud_by_category", "fraud_by_hour")


def marts(
    day: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], show_default=False, help="of event time, UTC; default: the last that is over"
        ),
    ] = None,
    *,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="build the incremental models anew instead of merging what is new")
    ] = False,
    docs: Annotated[bool, typer.Option("--docs/--no-docs", help="also write dbt's documentation")] = True,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Build the marts with dbt, show a day's fraud by rule, merchant category and hour, and write the analyst's page.

    Starts Postgres of the local stack unless it runs, and stops it again. Only what is new is merged: run it as often
    as you like.

    Example: streamflow marts --day 2024-01-08
    """
    from flink_jobs.warehouse.dbt_project import Dbt
    from flink_jobs.warehouse.report import find, page

    started = time.monotonic()
    stack = Stack(say=say)
    runs = stack.record.alive("postgres")
    if not runs and not stack.home.record.exists():
        raise UserError(f"there is no stack in {stack.home.root}", "decide some transactions first: `make demo`")
    settings = stack.settings() if runs else stack.up(["postgres"])
    try:
        _require_decisions(settings)
        folder = stack.home.root / "marts"
        dbt = Dbt(settings, folder / "dbt", say)
        say("Building the marts with dbt ...")
        _build(dbt, settings, folder / "lineage.jsonl", ["--full-refresh"] if full_refresh else [])
        say(f"dbt: {dbt.counts()}")
        if docs:
            say("Writing the documentation ...")
            dbt.run("docs", "generate", "--static")
        findings = find(settings.postgres_dsn_as("analyst"), day.replace(tzinfo=UTC).date() if day else None)
        report = folder / "report.html"
        report.write_text(page(findings), encoding="utf-8")
    finally:
        if not runs:
            stack.down()
    value = {
        "day": findings.day,
        **{name: _records(findings, name) for name in SHOWN},
        "report": report,
        "documentation": dbt.target / "static_index.html" if docs else None,
        "seconds": round(time.monotonic() - started, 1),
    }

    def plain() -> None:
        for name in SHOWN:
            query, answer = findings.answers[name]
            rows = [row for row in answer.rows if name != "fraud_by_hour" or row[2]]
            out.print(f"\n[bold]{findings.day}[/bold]  {query.title}")
            table([column.replace("_", " ") for column in answer.columns], rows)
        out.print(f"\nThe analyst's page:  {value['report']}", soft_wrap=True)
        if docs:
            out.print(f"Every model:         {value['documentation']}", soft_wrap=True)

    emit(output, value, plain)


def _build(dbt: Dbt, settings: Settings, lineage: Path, options: list[str]) -> None:
    """Build, and note what became of each node also where one failed."""
    try:
        dbt.run("build", *options)
    finally:
        if dbt.has_results():
            dbt.record(settings.postgres_dsn_as("transformer"))
    try:
        dbt.tell_lineage(lineage)
    except UserError as problem:  # the marts are built
        say(f"warning: {problem}")


def _records(findings: Findings, name: str) -> list[dict[str, object]]:
    answer = findings.answer(name)
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def _require_decisions(settings: Settings) -> None:
    with psycopg.connect(settings.postgres_dsn_as("transformer")) as connection:
        if connection.execute("SELECT FROM raw.decisions LIMIT 1").fetchone() is None:
            raise UserError("raw.decisions is empty", "decide some transactions first: `make demo`")
