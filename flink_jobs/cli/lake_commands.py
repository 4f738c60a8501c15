"""``streamflow lake``: checks the lake's files against Kafka, and merges small files."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flink_jobs.cli.output import Output, OutputOption, emit, out, table
from flink_jobs.settings import load_settings

if TYPE_CHECKING:
    from flink_jobs.warehouse.lake_check import LakePartition

app = typer.Typer(no_args_is_help=True, help="Check the lake's files against Kafka, and merge small files.")

INCOMPLETE_EXIT, UNKNOWN_EXIT = 3, 4
PAUSE_S = 1.0
MIB = 1 << 20
HOUR_MS = 3_600_000


@app.command()
def check(
    wait: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="longest wait for files that the job is completing")
    ] = 30.0,
    newest: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="OFFSETS", show_default="all", help="compare only the newest offsets per partition"
        ),
    ] = None,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Check that the lake holds each committed decision exactly once, as a row or as a rejected message.

    Compares the offsets that Kafka still holds, up to those that the lake job has committed. Exit code 0: each message
    has one row; 3: rows are lost or duplicated; 4: unknown, because the lake job has committed nothing yet.

    Example: streamflow lake check --newest 1000000
    """
    from flink_jobs.waiting import WaitTimeoutError, wait_for
    from flink_jobs.warehouse.lake_check import check as compare
    from flink_jobs.warehouse.lake_files import open_lake

    settings = load_settings()
    latest: list[LakePartition] = []
    try:
        with open_lake(settings) as store:

            def is_complete() -> bool:
                latest[:] = compare(store, settings.broker(), settings.topic_prefix, newest)
                return all(item.is_complete for item in latest)

            wait_for(is_complete, limit_s=wait, what="the lake job", interval_s=PAUSE_S)
    except WaitTimeoutError:
        lost, twice = sum(item.lost for item in latest), sum(item.duplicated for item in latest)
        _answer(output, latest, f"{lost:,} messages have no row in the lake, {twice:,} rows are duplicates")
        raise typer.Exit(INCOMPLETE_EXIT) from None
    if all(item.read_offset == item.first_offset for item in latest):
        _answer(output, latest, "the lake job has committed no offset that Kafka still holds, so nothing was compared")
        raise typer.Exit(UNKNOWN_EXIT)
    _answer(output, latest, "each message that the lake job has read is in the lake once")


def _answer(output: Output, compared: list[LakePartition], verdict: str) -> None:
    rows = [item._asdict() for item in compared]

    def plain() -> None:
        if rows:
            table([name.replace("_", " ") for name in rows[0]], [list(row.values()) for row in rows])
        out.print(verdict)

    emit(output, {"verdict": verdict, "partitions": rows}, plain)


@app.command()
def compact(
    largest: Annotated[
        int, typer.Option("--largest", min=1, metavar="MIB", help="a merged file replaces at most this much")
    ] = 512,
    grace: Annotated[
        float, typer.Option(min=0.0, metavar="HOURS", help="how long replaced files stay for queries that read them")
    ] = 1.0,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Merge the files of each closed day, and delete files that an earlier run replaced.

    A day is closed when the lake has files of the second day after it. You can stop the command at any time: no row is
    lost or duplicated. Run it once a day, one at a time.

    Example: streamflow lake compact
    """
    from flink_jobs.warehouse.lake_compaction import compact as merge
    from flink_jobs.warehouse.lake_files import open_lake

    now_ms = int(time.time() * 1000)
    with open_lake(load_settings()) as store:
        done = merge(store, now_ms, largest_bytes=largest * MIB, grace_ms=int(grace * HOUR_MS))

    def plain() -> None:
        out.print(f"{done.merged:,} files ({done.bytes_before:,} bytes) were merged into {done.written:,}")
        out.print(
            f"({done.bytes_after:,} bytes, {done.rows:,} rows); {len(done.deleted):,} replaced files were deleted"
        )

    emit(output, asdict(done), plain)
