"""Streams the rows of a card file: CSV, JSON lines (each also gzipped) or Parquet, never the whole file in memory."""

from __future__ import annotations

import csv
import gzip
import itertools
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from flink_jobs.cards.converters import Cell, CellError
from flink_jobs.cards.labels import UnknownLabelError, shown
from flink_jobs.cards.mapping import ColumnMapping, load_mapping
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

WIRE_MAPPING = Path(__file__).parent / "mappings" / "wire.yaml"
PARQUET_BATCH_ROWS = 4_096


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """One transaction of a source, ready to send, and the fields that are never sent.

    Attributes:
        transaction: the transaction document.
        label: True for fraud; None where the source has no label. Never sent.
        pattern: name of a planted fraud pattern. Never sent.
        segment: a group that an evaluation compares with the others. Never sent.
    """

    transaction: dict[str, Any]
    label: bool | None = None
    pattern: str | None = None
    segment: str | None = None


def with_prefix(events: Iterable[SourceEvent], prefix: str) -> Iterator[SourceEvent]:
    """Yield the events with a prefix before their ids: they belong to customers without history."""
    for event in events:
        ids = {name: prefix + event.transaction[name] for name in ("transaction_id", "customer_id")}
        yield replace(event, transaction={**event.transaction, **ids})


@dataclass(slots=True)
class SkippedRows:
    """Counts rows that the mapping cannot convert; ``first`` names the place and the problem of the first one."""

    count: int = 0
    first: str = ""

    def add(self, problem: str) -> None:
        """Count one row."""
        self.first = self.first or problem
        self.count += 1


def mapping_for(path: Path, mapping: Path | None) -> ColumnMapping:
    """Return the mapping for a file: the given one, else ``<name>.mapping.yaml`` in its folder, else the wire format's.

    Raises:
        UserError: the file does not exist, or it has no mapping and is not JSON lines.
    """
    _check_file(path)
    if mapping is not None:
        return load_mapping(mapping)
    stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    beside = path.with_name(f"{stem}.mapping.yaml")
    if beside.exists():
        return load_mapping(beside)
    if _kind(path) == "jsonl":
        return load_mapping(WIRE_MAPPING)
    what = f"{path} has no column mapping"
    raise UserError(what, f"write {beside}, or name a mapping with --mapping; tests/data has an example")


def read_events(path: Path, mapping: ColumnMapping, skipped: SkippedRows | None = None) -> Iterator[SourceEvent]:
    """Yield the events of a card file in the order of the file.

    Args:
        path: the card file.
        mapping: names the column of each field.
        skipped: counts rows that the mapping cannot convert; None: such a row is an error.

    Raises:
        UserError: the file cannot be read, lacks a column of the mapping, or has a row that cannot be converted.
    """
    _check_file(path)
    readers: dict[str, Callable[[Path, ColumnMapping], Iterator[tuple[int, Mapping[str, Cell]]]]]
    readers = {"csv": _csv_rows, "jsonl": _json_rows, "parquet": _parquet_rows}
    rows = readers[_kind(path)](path, mapping)
    for number, row in rows:
        try:
            event = SourceEvent(
                mapping.transaction(row),
                mapping.label(row),
                mapping.pattern.text(row) if mapping.pattern else None,
                mapping.segment.text(row) if mapping.segment else None,
            )
        except CellError as cause:
            problem = f"{path}, row {number}: {cause}"
            if skipped is None and isinstance(cause, UnknownLabelError):
                raise unknown_labels(path, mapping, itertools.chain([(number, row)], rows)) from None
            if skipped is None:
                fix = f"correct the row or {mapping.path}, or skip such rows with --skip-bad-rows"
                raise UserError(problem, fix) from None
            skipped.add(problem)
            continue
        yield event


def unknown_labels(path: Path, mapping: ColumnMapping, rows: Iterable[tuple[int, Mapping[str, Cell]]]) -> UserError:
    """Return the error that lists the unknown label values among these rows, and how often each occurs."""
    source, first = mapping.label_source, 0
    if source is None:
        raise AssertionError("a mapping without a label has no unknown label")

    def cells() -> Iterator[Cell]:
        nonlocal first
        for number, row in rows:
            first = first or number
            if (cell := source.cell(row)) is not None:
                yield cell

    found = shown(mapping.label_values.unknown(cells()))
    what = f"{path}, from row {first} on: {source.key} has values that are neither fraud nor genuine: {found}"
    fix = f"list them in {mapping.path}: `label: {{fraud_values: [...], genuine_values: [...]}}`"
    return UserError(what, f"{fix}, or skip such rows with --skip-bad-rows")


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"there is no file {path}", "check the path")


def _kind(path: Path) -> str:
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        return "csv"
    if name.endswith((".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")):
        return "jsonl"
    if name.endswith((".parquet", ".pq")):
        return "parquet"
    what = f"{path} has an unknown file type"
    raise UserError(what, "use .csv, .jsonl (each also .gz) or .parquet")


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, also a .gz file; raise UserError for every failure of reading."""
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
            yield stream  # type: ignore[misc]  # GzipFile is an IO[bytes] in all but name
    except (OSError, EOFError, zlib.error) as cause:
        what = f"{path} cannot be read ({cause})"
        raise UserError(what, "check that it is complete and not of another format") from cause


def _csv_rows(path: Path, mapping: ColumnMapping) -> Iterator[tuple[int, Mapping[str, Cell]]]:
    with _opened(path) as stream:
        # utf-8-sig: spreadsheets write a byte order mark before the first column name.
        lines = (line.decode("utf-8-sig" if first else "utf-8") for first, line in _flag_first(stream))
        try:
            reader = csv.DictReader(lines)
            mapping.check_columns(reader.fieldnames or (), str(path))
            yield from enumerate(reader, start=2)  # row 1 is the header
        except (csv.Error, UnicodeDecodeError) as cause:
            what = f"{path} is not a CSV file in UTF-8 ({cause})"
            raise UserError(what, "convert it, for example with `iconv -t utf-8`") from None


def _flag_first(stream: IO[bytes]) -> Iterator[tuple[bool, bytes]]:
    first = True
    for line in stream:
        yield first, line
        first = False


def _json_rows(path: Path, mapping: ColumnMapping) -> Iterator[tuple[int, Mapping[str, Cell]]]:
    checked = False
    with _opened(path) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as cause:
                what = f"{path}, line {number} is not JSON ({cause})"
                raise UserError(what, "write one JSON object per line") from None
            if not isinstance(row, dict):
                what = f"{path}, line {number} is not a JSON object"
                raise UserError(what, "write one JSON object per line")
            if not checked:
                _check_required_json(mapping, row, f"{path}, line {number}")
                checked = True
            yield number, row


def _check_required_json(mapping: ColumnMapping, row: Mapping[str, Cell], where: str) -> None:
    """Check that an object has the required columns; any object may lack optional ones."""
    required = (mapping.transaction_id, mapping.customer_id, mapping.amount, mapping.event_time)
    for source in required:
        if source.cell(row) is None:
            mapping.check_columns({**dict.fromkeys(mapping.columns()), **row}.keys() - {source.column}, where)


def _parquet_rows(path: Path, mapping: ColumnMapping) -> Iterator[tuple[int, Mapping[str, Cell]]]:
    import pyarrow  # noqa: PLC0415, ICN001 - takes a second to import, and only Parquet needs it
    from pyarrow import parquet  # noqa: PLC0415

    try:
        with parquet.ParquetFile(path) as file:
            mapping.check_columns(file.schema_arrow.names, str(path))
            wanted = [name for name in file.schema_arrow.names if name in {c.split(".")[0] for c in mapping.columns()}]
            number = 0
            for batch in file.iter_batches(batch_size=PARQUET_BATCH_ROWS, columns=wanted):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError) as cause:
        what = f"{path} cannot be read as Parquet ({cause})"
        raise UserError(what, "check that it is complete and not of another format") from None
