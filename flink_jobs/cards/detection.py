"""Takes a sample of a card file and detects its dialect and encoding."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from flink_jobs.cards.card_files import file_kind
from flink_jobs.cards.dialect import DEFAULT, Dialect
from flink_jobs.cards.json_rows import json_rows
from flink_jobs.cards.parquet_rows import parquet_rows
from flink_jobs.cards.quoted_lines import joined
from flink_jobs.cards.row_errors import RowError
from flink_jobs.cards.streams import BYTE_ORDER_MARK, opened

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE_BYTES = 1 << 20
SAMPLE_ROWS = 1_000
SHARE_SURE = 0.95
DELIMITERS = (",", ";", "\t", "|")


@dataclass(slots=True)
class Sample:
    """The first rows of a card file, as text.

    Attributes:
        kind: csv, jsonl or parquet.
        dialect: the detected dialect of a CSV file.
        columns: the column names.
        rows: the cells by column; an empty text stands for a missing cell.
        notes: how the dialect was detected.
        problem: the first row of a file without a header that cannot be read.
    """

    kind: str
    dialect: Dialect
    columns: list[str]
    rows: list[dict[str, str]]
    notes: list[str] = field(default_factory=list)
    problem: RowError | None = None

    def cells(self, column: str) -> list[str]:
        """Return the cells of a column that have a value."""
        return [cell for row in self.rows if (cell := row.get(column, "").strip())]


def take_sample(path: Path) -> Sample:
    """Return the first rows of a card file.

    Raises:
        UserError: the file cannot be read.
    """
    kind = file_kind(path)
    if kind == "csv":
        return _csv_sample(path)
    rows: list[dict[str, str]] = []
    names: dict[str, None] = {}
    problem: RowError | None = None
    source = json_rows(path) if kind == "jsonl" else parquet_rows(path, _AllColumns(), (), lambda _: None)
    for _, row in source:
        if isinstance(row, RowError):
            problem = problem or row
        else:
            flat = dict(_flat(row))
            names.update(dict.fromkeys(flat))
            rows.append(flat)
        if len(rows) == SAMPLE_ROWS:
            break
    return Sample(kind, DEFAULT, list(names), rows, problem=problem)


class _AllColumns(tuple[str, ...]):
    """A collection that holds every column."""

    __slots__ = ()

    def __contains__(self, item: object) -> bool:
        """Return True."""
        return True


def _flat(row: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in row.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, "" if value is None else str(value)))
    return found


def _csv_sample(path: Path) -> Sample:
    with opened(path) as stream:
        raw = stream.read(SAMPLE_BYTES)
    notes: list[str] = []
    encoding = _encoding(raw, notes)
    text = raw.removeprefix(BYTE_ORDER_MARK).decode(encoding, errors="replace")
    # Only these bytes end a line: a name may hold other separators, such as U+2028.
    lines = [line.removesuffix("\r") for line in text.split("\n") if line.strip()]
    if len(raw) == SAMPLE_BYTES:
        lines = lines[:-1]  # the last line may be cut
    lines = lines[: SAMPLE_ROWS + 1]
    head = lines[0] if lines else ""
    delimiter = max(DELIMITERS, key=head.count)
    notes.append(f"delimiter {delimiter!r}: occurs {head.count(delimiter)} times in the header")
    body = lines[1:]
    quoted = re.compile(rf"(^|{re.escape(delimiter)})'[^']*'({re.escape(delimiter)}|$)")
    singles = sum(quoted.search(line) is not None for line in body)
    quote = "'" if body and singles > SHARE_SURE * len(body) else '"'
    if quote == "'":
        notes.append("quote ': cells of the sample are in single quotes")
    dialect = replace(DEFAULT, delimiter=delimiter, encoding=encoding, quote=quote)
    names = _loose(head, dialect)
    if (whole := _with_line_breaks(body, dialect, len(names))) is not None:
        notes.append("line breaks: with them, each row of the sample has the cells of the header")
        body, dialect = whole, replace(dialect, has_line_breaks=True)
    cells = [_loose(line, dialect) for line in body]
    rows = [dict(zip(names, row, strict=False)) for row in cells if len(row) >= len(names)]
    return Sample("csv", dialect, names, rows, notes)


def _loose(line: str, dialect: Dialect) -> list[str]:
    """Return the cells of a line, also if its quotes do not pair."""
    text = io.StringIO(line.replace("\r", " "))
    return next(csv.reader(text, delimiter=dialect.delimiter, quotechar=dialect.quote), [])


def _with_line_breaks(lines: list[str], dialect: Dialect, width: int) -> list[str] | None:
    """Return the rows if quoted cells with line breaks explain every line whose quotes do not pair; else None."""

    def split(row: bytes) -> list[str]:
        text = row.decode("utf-8").rstrip("\n")
        found = list(csv.reader(io.StringIO(text), delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True))
        return found[0] if len(found) == 1 else []

    numbered = ((number, f"{line}\n".encode()) for number, line in enumerate(lines))
    rows = [raw for _, raw in joined(numbered, split, width) if raw is not None]
    if len(rows) == len(lines):
        return None
    try:
        is_whole = all(len(split(row)) >= width for row in rows[:-1])  # the sample may cut the last row
    except csv.Error:
        return None
    return [row.decode("utf-8").rstrip("\n") for row in rows] if is_whole else None


def _encoding(raw: bytes, notes: list[str]) -> str:
    """Return the encoding of the first bytes of a file."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        notes.append("encoding utf-16: the file starts with its byte order mark")
        return "utf-16"
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as cause:
        if cause.start < len(raw) - 4:  # a character may be cut at the end of the sample
            # One stray byte is a bad row of a UTF-8 file; many are another encoding.
            stray = len(re.findall(rb"[\x80-\xff]", raw)) - len(re.findall(rb"[\xc2-\xf4][\x80-\xbf]", raw)) * 2
            notes.append(f"encoding windows-1252: {stray} bytes are not UTF-8  # check")
            return "windows-1252"
    return "utf-8"
