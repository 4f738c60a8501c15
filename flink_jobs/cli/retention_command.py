"""``streamflow retention``: shows what retention keeps, deletes rows that are due, and lists past deletions."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flink_jobs.cli.output import Output, OutputOption, emit, out, table
from flink_jobs.settings import load_settings

SHOWN = 20


def retention(
    *,
    apply: Annotated[
        bool, typer.Option("--apply", help="delete the rows that are due; without it, only show them")
    ] = False,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Show which rows of the raw tables are due for deletion, and the latest deletions.

    A row is due when it was loaded longer ago than the table keeps rows, by the clock of the database; its event time
    does not count. The hourly DAG ingestion_health deletes rows that are due. Every deletion is recorded in
    ops.retention_log.

    Example: streamflow retention --apply
    """
    from flink_jobs.warehouse.partitions import expire_rows, read_policies, read_retention_log

    dsn = load_settings().postgres_dsn_as("transformer")
    changes = expire_rows(dsn, is_trial=not apply)
    policies, log = read_policies(dsn), read_retention_log(dsn, SHOWN)
    value: dict[str, Any] = {
        "policies": policies,
        "deleted" if apply else "due": [change._asdict() for change in changes],
        "log": log,
    }

    def plain() -> None:
        table(["table", "kept after loading"], [[row["table"], _days(row["keep_days"])] for row in policies])
        out.print()
        for change in changes:
            out.print(_sentence(change.table, change.partition, change.action, change.rows, is_done=apply))
        if not changes:
            out.print("No row is due for deletion.")
        if log:
            out.print()
            rows = [
                [row["deleted_at"], row["table"], row["partition"], f"{row['rows']:,}", row["deleted_by"]]
                for row in log
            ]
            table(["deleted at", "table", "partition", "rows", "by"], rows, "Latest deletions")

    emit(output, value, plain)


def _days(keep_days: int | None) -> str:
    return "without limit" if keep_days is None else f"{keep_days} days"


def _sentence(name: str, partition: str, action: str, rows: int, *, is_done: bool) -> str:
    if action == "kept":
        return (
            f"{name}: rows are due, but nothing is deleted: no row that was loaded at least a day ago is younger than "
            "the retention. Check the feed and the clock of the database."
        )
    return f"{name}: {rows:,} rows of partition {partition} {'were deleted' if is_done else 'are due for deletion'}."
