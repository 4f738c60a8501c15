"""Streams the rows of a card file: CSV, JSON lines (each also gzipped) or Parquet, never the whole file in memory."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flink_jobs.cards.csv_rows import csv_rows
from flink_jobs.cards.json_rows import json_rows
from flink_jobs.cards.labels import UnknownLabelError, shown
from flink_jobs.cards.mapping import ColumnMapping, load_mapping
from flink_jobs.cards.parquet_rows import parquet_rows
from flink_jobs.cards.row_errors import BadRowError, CellError, RowError, RowReason, SkippedRows
from flink_jobs.cards.sources import ROW_NUMBER
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from flink_jobs.cards.converters import Cell
    from flink_jobs.cards.streams import Row

__all__ = [
    "BadRowError", "RowError", "RowReason", "SkippedRows", "SourceEvent", "mapping_for", "read_events", "read_rows",
    "with_prefix",
]  # fmt: skip

WIRE_MAPPING = Path(__file__).parent / "mappings" / "wire.yaml"


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """One transaction of a source, ready to send, and the fields that are never sent.

    Attributes:
        transaction: the transaction document.
        label: True for fraud; None where the source has no label. Never sent.
        pattern: name of a planted fraud pattern. Never sent.
        segment: a group that an evaluation compares with the others. Never sent.
        row: the row of the file; None where the source is no file.
    """

    transaction: dict[str, Any]
    label: bool | None = None
    pattern: str | None = None
    segment: str | None = None
    row: int | None = field(default=None, compare=False)


def with_prefix(events: Iterable[SourceEvent], prefix: str) -> Iterator[SourceEvent]:
    """Yield the events with a prefix before their ids: they belong to customers without history."""
    for event in events:
        ids = {name: prefix + event.transaction[name] for name in ("transaction_id", "customer_id")}
        yield replace(event, transaction={**event.transaction, **ids})


def mapping_for(path: Path, mapping: Path | None) -> ColumnMapping:
    """Return the mapping for a file: the given one, else ``<name>.mapping.yaml`` in its folder, else the wire format's.

    Args:
        path: the card file.
        mapping: a mapping file, or ``preset:NAME``.

    Raises:
        UserError: the file does not exist, or it has no mapping and is not JSON lines.
    """
    check_file(path)
    if mapping is not None:
        return load_mapping(mapping)
    stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    beside = path.with_name(f"{stem}.mapping.yaml")
    if beside.exists():
        return load_mapping(beside)
    if file_kind(path) == "jsonl":
        return load_mapping(WIRE_MAPPING)
    what = f"{path} has no column mapping"
    fix = f"write {beside}, or name a mapping with --mapping; `streamflow inspect {path}` proposes one"
    raise UserError(what, fix)


def read_events(path: Path, mapping: ColumnMapping, skipped: SkippedRows | None = None) -> Iterator[SourceEvent]:
    """Yield the events of a card file in the order of the file.

    Args:
        path: the card file.
        mapping: names the column of each field.
        skipped: collects rows that are left out; None: a row that cannot be read is an error, and the command has no
            option to skip it.

    Raises:
        BadRowError: a row cannot be read, and ``skipped`` does not take errors.
        UserError: the file cannot be read, or lacks a column of the mapping.
    """
    advice = "" if skipped is None else ", or skip such rows with --skip-bad-rows"
    if skipped is None:
        skipped = SkippedRows(takes_errors=False)
    place, transaction, label = str(path), mapping.transaction, mapping.label
    rows = read_rows(path, mapping)
    for number, row in rows:
        if isinstance(row, RowError):
            error = row
        else:
            try:
                event = SourceEvent(
                    transaction(row),
                    label(row),
                    mapping.pattern.group(row) if mapping.pattern else None,
                    mapping.segment.group(row) if mapping.segment else None,
                    number,
                )
            except CellError as cause:
                if not skipped.takes(cause.reason) and isinstance(cause, UnknownLabelError):
                    raise unknown_labels(path, mapping, itertools.chain([(number, row)], rows), advice) from None
                error = _row_error(number, row, cause, mapping)
            else:
                yield event
                continue
        if not skipped.takes(error.reason):
            fix = error.fix or f"correct the row or {mapping.path}"
            raise BadRowError(place, error, f"{fix}{advice}")
        skipped.add(place, error)


def unknown_labels(path: Path, mapping: ColumnMapping, rows: Iterable[Row], advice: str) -> UserError:
    """Return the error that lists the unknown label values among these rows, and how often each occurs.

    Args:
        path: the card file.
        mapping: names the label.
        rows: the first row with an unknown label, and all rows after it.
        advice: ends the fix.
    """
    source, first = mapping.label_source, 0
    if source is None:
        raise AssertionError("a mapping without a label has no unknown label")

    def cells() -> Iterator[Cell]:
        nonlocal first
        for number, row in rows:
            first = first or number
            if not isinstance(row, RowError) and (cell := source.cell(row)) is not None:
                yield cell

    found = shown(mapping.label_values.unknown(cells()))
    what = f"{path}, from row {first} on: {source.key} has values that are neither fraud nor genuine: {found}"
    fix = f"list them in {mapping.path}: `label: {{fraud_values: [...], genuine_values: [...]}}`"
    return UserError(what, f"{fix}{advice}")


def read_rows(path: Path, mapping: ColumnMapping) -> Iterator[Row]:
    """Return an iterator of the number of each row with its cells by column, or with its error.

    Raises:
        UserError: the file cannot be read, or lacks a column of the mapping.
    """
    check_file(path)
    rows = _rows_of(path, mapping)
    return _numbered(rows) if mapping.needs_row_number() else rows


def _numbered(rows: Iterator[Row]) -> Iterator[Row]:
    """Add the number of the row to its cells."""
    for number, row in rows:
        if not isinstance(row, RowError):
            row[ROW_NUMBER] = number
        yield number, row


def _rows_of(path: Path, mapping: ColumnMapping) -> Iterator[Row]:
    columns, kind = mapping.columns(), file_kind(path)

    def check(present: Collection[str]) -> None:
        mapping.check_columns(present, str(path))

    if kind == "csv":
        return csv_rows(path, mapping.dialect, check)
    if kind == "jsonl":
        return json_rows(path)
    return parquet_rows(path, columns, mapping.amount.columns, check)


def _row_error(number: int, row: dict[str, Any], cause: CellError, mapping: ColumnMapping) -> RowError:
    """Return the error of a row whose cell cannot be converted; adds the column to the message."""
    column, message = cause.column, str(cause)
    if cause.reason is RowReason.MISSING_COLUMN:
        try:
            mapping.check_columns(row.keys(), "the row")
        except UserError as missing:
            return RowError(number, column, cause.reason, missing.what, missing.fix)
    if column is None:
        column = mapping.column_of_error(row)
        message = message if column is None else f"column {column}: {message}"
    return RowError(number, column, cause.reason, message)


def check_file(path: Path) -> None:
    """Check that a file exists.

    Raises:
        UserError: it does not.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}", "check the path")


def file_kind(path: Path) -> str:
    """Return ``csv``, ``jsonl`` or ``parquet``, from the name of a file.

    Raises:
        UserError: the name has another ending.
    """
    name = path.name.lower().removesuffix(".gz")
    if name.endswith((".csv", ".tsv", ".txt")):
        return "csv"
    if name.endswith((".jsonl", ".ndjson")):
        return "jsonl"
    if name.endswith((".parquet", ".pq")) and not path.name.lower().endswith(".gz"):
        return "parquet"
    what = f"{path} has an unknown file type"
    raise UserError(what, "use .csv, .tsv, .txt, .jsonl (each also .gz) or .parquet")
