"""``streamflow precision``: shows the precision of alerts, from the labels."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flink_jobs.cli.output import Output, OutputOption, emit, out, table
from flink_jobs.cli.times import moment_ms
from flink_jobs.postgres_settings import load_postgres_settings

if TYPE_CHECKING:
    from ml.history.precision import AlertPrecision

COLUMNS = ("alerts", "labelled", "fraud", "precision", "95 % interval")


def precision(
    since: Annotated[
        str | None, typer.Option(help="first day of event time, UTC: 7d (days ago), or 2024-03-01")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="day at which the period ends (excluded), in the same format")
    ] = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Show the precision of the alerts by reason and by model, from the labels known today.

    Alerts without a label do not count, so read the share of labelled alerts first. Recall counts labelled frauds; it
    is too high if analysts label only alerts.
    """
    from ml.history.connection import warehouse
    from ml.history.precision import read_precision

    now_ms = time.time_ns() // 1_000_000
    with warehouse(load_postgres_settings().postgres_dsn) as connection:
        found = read_precision(connection, _day(since, "--since", now_ms), _day(until, "--until", now_ms))
    value = {"reasons": [_document(one) for one in found.reasons], "models": [_document(one) for one in found.models]}

    def plain() -> None:
        if not found.models:
            out.print("No decision in this period.")
            return
        table(["reason", *COLUMNS], [[one.name, *_cells(one)] for one in found.reasons], "Reasons of alerts")
        out.print()
        rows = [[one.name, one.role, f"{one.decisions:,}", *_cells(one), _percent(one.recall)] for one in found.models]
        table(["model", "role", "decisions", *COLUMNS, "recall"], rows, "Models")

    emit(output, value, plain)


def _day(text: str | None, option: str, now_ms: int) -> date | None:
    return None if text is None else datetime.fromtimestamp(moment_ms(text, option, now_ms) / 1_000, UTC).date()


def _document(one: AlertPrecision) -> dict[str, Any]:
    return {**asdict(one), "precision": one.precision, "interval": one.interval, "recall": one.recall}


def _cells(one: AlertPrecision) -> list[str]:
    low, high = one.interval
    interval = f"{low:.1%} to {high:.1%}" if one.labelled_alerts else ""
    counts = [f"{count:,}" for count in (one.alerts, one.labelled_alerts, one.fraud_alerts)]
    return [*counts, _percent(one.precision), interval]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
