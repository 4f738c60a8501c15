"""``streamflow marts``: builds the marts and the analyst's page from the tables that the archive job writes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import psycopg
import typer

from flink_jobs.cli.output import Output, OutputOption, emit, out, say, table
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.local.stack import Stack
from flink_jobs.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from flink_jobs.settings import Settings
    from flink_jobs.warehouse.analyst_page import Findings
    from flink_jobs.warehouse.dbt_project import Dbt

SHOWN = ("fraud_by_rule", "fraud_by_category", "fraud_by_hour")
NO_DECISIONS = "score some transactions first: `make demo`"

Day = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], show_default=False, help="day of event time, UTC; default: the last closed day"),
]
FullRefresh = Annotated[
    bool, typer.Option("--full-refresh", help="rebuild the incremental models, unless that would erase rows of gold")
]
Lake = Annotated[
    bool, typer.Option("--lake", help="build the marts that need only decisions with DuckDB over STREAMFLOW_LAKE_PATH")
]
Docs = Annotated[bool, typer.Option("--docs/--no-docs", help="also write dbt's documentation")]


def marts(
    day: Day = None,
    *,
    full_refresh: FullRefresh = False,
    lake: Lake = False,
    docs: Docs = True,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Build the marts with dbt, show one day's fraud by rule, merchant category and hour, write the analyst's page.

    The command starts Postgres of the local stack if it does not run, and then stops it again. It merges only new rows,
    so it can run as often as you like.

    Example: streamflow marts --day 2024-01-08
    """
    from flink_jobs.warehouse.analyst_page import find, page
    from flink_jobs.warehouse.dbt_project import Dbt

    started = time.monotonic()
    stack = Stack(say=say)
    folder = stack.home.root / "marts"
    refresh = ["--full-refresh"] if full_refresh else []
    if lake:
        _build_lake(stack, folder, refresh, output, started)
        return
    with _postgres(stack) as settings:
        _require_decisions(settings)
        dbt = Dbt(settings, folder / "dbt", say)
        say("Building the marts with dbt ...")
        _build(dbt, settings, folder / "lineage.jsonl", refresh)
        say(f"dbt: {dbt.counts()}")
        if docs:
            say("Writing the documentation ...")
            dbt.run("docs", "generate", "--static")
        findings = find(settings.postgres_dsn_as("analyst"), day.replace(tzinfo=UTC).date() if day else None)
        report = folder / "report.html"
        report.write_text(page(findings), encoding="utf-8")
    value = {
        "day": findings.day,
        **{name: _records(findings, name) for name in SHOWN},
        "report": report,
        "documentation": dbt.target / "static_index.html" if docs else None,
        "seconds": round(time.monotonic() - started, 1),
    }
    emit(output, value, lambda: _print(findings, report, value["documentation"]))


def _build_lake(stack: Stack, folder: Path, options: list[str], output: Output, started: float) -> None:
    """Build the marts of the lake into a DuckDB file; Postgres takes no part.

    Raises:
        UserError: there is no lake, it has no file yet, or dbt failed.
    """
    from flink_jobs.warehouse.dbt_project import LAKE_BUILD, Dbt

    settings = load_settings(stack.home.root)
    if settings.lake_path is None:
        raise UserError("STREAMFLOW_LAKE_PATH is not set", "set it to the lake's folder or s3://bucket/prefix")
    dbt = Dbt(settings, folder / "dbt-lake", say)
    say(f"Building the marts over {settings.lake_path} with dbt and DuckDB ...")
    dbt.run(*LAKE_BUILD, *options)
    say(f"dbt: {dbt.counts()}")
    value = {"database": dbt.lake_database, "seconds": round(time.monotonic() - started, 1)}
    emit(output, value, lambda: out.print(f"The marts: {dbt.lake_database}", soft_wrap=True))


@contextmanager
def _postgres(stack: Stack) -> Iterator[Settings]:
    """Run Postgres of the local stack for the length of a block; leave it running if it ran before.

    Raises:
        UserError: there is no stack.
    """
    runs = stack.record.alive("postgres")
    if not runs and not stack.home.record.exists():
        raise UserError(f"there is no stack in {stack.home.root}", NO_DECISIONS, ErrorCode.STACK_DOWN)
    settings = stack.settings() if runs else stack.up(["postgres"])
    try:
        yield settings
    finally:
        if not runs:
            stack.down()


def _print(findings: Findings, report: Path, documentation: object) -> None:
    for name in SHOWN:
        query, answer = findings.answers[name]
        rows = [row for row in answer.rows if name != "fraud_by_hour" or row[2]]
        out.print(f"\n[bold]{findings.day}[/bold]  {query.title}")
        table([column.replace("_", " ") for column in answer.columns], rows)
    out.print(f"\nThe analyst's page:  {report}", soft_wrap=True)
    if documentation is not None:
        out.print(f"All dbt models:      {documentation}", soft_wrap=True)


def _build(dbt: Dbt, settings: Settings, lineage: Path, options: list[str]) -> None:
    """Build the marts; record the result of each dbt node, also when a node failed."""
    try:
        dbt.run("build", *options)
    finally:
        if dbt.has_results():
            dbt.record(settings.postgres_dsn_as("transformer"))
    try:
        dbt.write_lineage(lineage)
    except UserError as problem:  # the marts are complete without the lineage
        say(f"warning: {problem}")


def _records(findings: Findings, name: str) -> list[dict[str, object]]:
    answer = findings.answer(name)
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def _require_decisions(settings: Settings) -> None:
    with psycopg.connect(settings.postgres_dsn_as("transformer")) as connection:
        if connection.execute("SELECT FROM raw.decisions LIMIT 1").fetchone() is None:
            raise UserError("raw.decisions is empty", NO_DECISIONS)
