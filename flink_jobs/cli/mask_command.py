"""``streamflow dlq mask``: removes card numbers from rows that earlier releases stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flink_jobs.cli.actor import ByOption, actor
from flink_jobs.cli.output import Output, OutputOption, emit, out, say, table
from flink_jobs.postgres_settings import load_postgres_settings

if TYPE_CHECKING:
    from flink_jobs.dead_letters.masking import MaskedRows, MaskingReport

SHOW_EVERY = 100_000
"""Rows between two messages of progress."""


def mask(
    by: ByOption = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="count the rows, and change and record nothing")] = False,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Mask card numbers in rows that earlier releases stored in Postgres, as this release stores them.

    Upgrade the archive first: an older one stores more of them. The command works in short transactions beside the
    running jobs. Run it again after an interruption: rows that are masked stay as they are. Kafka keeps the bytes, so
    dead letters can be redriven as before. ops.masking_log records each run.

    For example: streamflow dlq mask --dry-run
    """
    from flink_jobs.dead_letters.masking import mask_stored_rows

    def note(rows: MaskedRows) -> None:
        if rows.looked_at % SHOW_EVERY == 0:
            say(f"{rows.table}: {rows.looked_at:,} rows looked at, {rows.masked:,} with a card number")

    settings = load_postgres_settings()
    report = mask_stored_rows(settings.postgres_dsn, actor(by), note, is_trial=dry_run)
    value = {
        "run": report.run,
        "tables": [
            {"table": rows.table, "looked_at": rows.looked_at, "masked": rows.masked, "left": rows.left}
            for rows in report.tables
        ],
        "kept": report.kept,
    }
    emit(output, value, lambda: _print(report))


def _print(report: MaskingReport) -> None:
    masked = "masked" if report.run else "would be masked"
    rows = [[rows.table, f"{rows.looked_at:,}", f"{rows.masked:,}", f"{rows.left:,}"] for rows in report.tables]
    table(["table", "looked at", masked, "left"], rows)
    for name, count in report.kept.items():
        if count:
            out.print(
                f"{name}: {count:,} rows have a card number and stay, because the table is append-only.", soft_wrap=True
            )
    if report.run:
        out.print(f"{report.run} is recorded in ops.masking_log.", markup=False)
