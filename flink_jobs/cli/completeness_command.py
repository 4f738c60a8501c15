"""``streamflow completeness``: checks that Postgres holds every record of Kafka."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flink_jobs.cli.output import Output, OutputOption, emit, out, table
from flink_jobs.settings import load_settings

if TYPE_CHECKING:
    from flink_jobs.warehouse.completeness import Compared

INCOMPLETE_EXIT, UNKNOWN_EXIT = 3, 4
PAUSE_S = 1.0


def completeness(
    wait: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="longest wait for the jobs to process their backlog")
    ] = 30.0,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Check that every record the detector has read has its row in Postgres, and that the archive job has no backlog.

    A record that was redelivered and decided again is not missing, nor is an offset that holds no committed record (the
    end of a transaction, or a record of an aborted one). A record that has its row is not backlog, even if the job was
    stopped before it committed the offset.

    The result is recorded in ops.kafka_positions. Exit code 0: complete; 3: records are missing or in the backlog;
    4: unknown, because Kafka does not answer or has none of the topics.

    Example: streamflow completeness --wait 60
    """
    from flink_jobs.contracts.topic_contracts import topic_name
    from flink_jobs.kafka.positions import READERS, committed_offsets, read_positions, waiting_records
    from flink_jobs.kafka.topics import is_ready
    from flink_jobs.waiting import WaitTimeoutError, wait_for
    from flink_jobs.warehouse.backlog import without_row
    from flink_jobs.warehouse.completeness import compare

    settings = load_settings()
    broker, prefix, dsn = settings.broker(), settings.topic_prefix, settings.postgres_dsn_as("transformer")
    if not is_ready(broker):
        _answer(output, [], f"no Kafka broker answers at {broker}")
        raise typer.Exit(UNKNOWN_EXIT)
    latest: list[Compared] = []

    transactions = topic_name(prefix, "transactions")
    suffixes = {topic_name(prefix, suffix): suffix for suffix in READERS}

    def is_complete() -> bool:
        positions = read_positions(broker, prefix)
        positions = without_row(dsn, positions, suffixes, waiting_records(broker, positions))
        backlog = sum(item.waiting for item in positions if item.topic != transactions)
        # While the archive has a backlog, offsets without an outcome are no finding yet.
        read = None if backlog else partial(committed_offsets, broker, transactions)
        latest[:] = compare(dsn, positions, transactions, read)
        return bool(latest) and all(item.is_complete for item in latest)

    try:
        wait_for(is_complete, limit_s=wait, what="the jobs", interval_s=PAUSE_S)
    except WaitTimeoutError:
        if not latest:
            _answer(output, [], f"Kafka has no topic of {prefix}, so nothing was compared")
            raise typer.Exit(UNKNOWN_EXIT) from None
        missing = sum(item.missing or 0 for item in latest)
        waiting = sum(item.position.waiting for item in latest if item.missing is None)
        _answer(output, latest, f"{missing:,} records have no row, {waiting:,} are in the backlog of the archive job")
        raise typer.Exit(INCOMPLETE_EXIT) from None
    _answer(output, latest, "every record that was read has its row")


def _answer(output: Output, compared: list[Compared], verdict: str) -> None:
    rows: list[dict[str, Any]] = [
        {
            **item.position._asdict(),
            "missing": item.missing,
            "decided_again": item.decided_again,
            "without_record": item.without_record,
        }
        for item in compared
    ]

    def plain() -> None:
        if rows:
            table([name.replace("_", " ") for name in rows[0]], [list(row.values()) for row in rows])
        out.print(verdict)

    emit(output, {"verdict": verdict, "partitions": rows}, plain)
