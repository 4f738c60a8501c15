"""``streamflow dlq report``: count each day's dead letters and write a page for the day."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from flink_jobs.cli.output import Output, OutputOption, emit, out
from flink_jobs.settings import load_settings


def report(
    day: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            show_default=False,
            help="UTC day of the rejection; default: every day from the last reported day on",
        ),
    ] = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Count a day's dead letters by reason into ops.dead_letter_report, and write a page with them.

    Repeating the command replaces the report of that day.

    Example: streamflow dlq report --day 2026-01-15
    """
    from flink_jobs.dead_letters.daily_report import report_day, unreported_days

    settings = load_settings()
    dsn = settings.postgres_dsn_as("transformer")
    days = [day.replace(tzinfo=UTC).date()] if day else unreported_days(dsn)
    written = [report_day(dsn, one, settings.report_dir) for one in days]
    value = {
        "reports": [
            {"day": one.day, "dead_letters": one.letters, "groups": one.groups, "page": one.path} for one in written
        ]
    }

    def plain() -> None:
        for one in written:
            out.print(f"{one.day}: {one.letters:,} dead letters in {one.groups:,} groups; {one.path}", soft_wrap=True)
        if not written:
            out.print("No day has dead letters that are not reported.")

    emit(output, value, plain)
