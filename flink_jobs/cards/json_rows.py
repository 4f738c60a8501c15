"""Reads the objects of a JSON lines file; a line that is not an object is the error of its row."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson

from flink_jobs.cards.row_errors import RowError, RowReason
from flink_jobs.cards.streams import MAX_LINE_BYTES, bounded_lines, opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flink_jobs.cards.streams import Row

ONE_OBJECT = "write one JSON object per line"


def json_rows(path: Path) -> Iterator[Row]:
    """Yield the objects of a JSON lines file; the number of a row is its line, empty lines are left out.

    Args:
        path: the file.

    Raises:
        UserError: the file cannot be read.
    """
    with opened(path) as stream:
        for number, line in bounded_lines(stream):
            if line is None:
                yield number, RowError(number, None, RowReason.TOO_LONG, f"the line is above {MAX_LINE_BYTES:,} bytes")
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as cause:
                if line.strip():
                    yield number, _why_not_json(number, line, cause)
                continue
            if type(row) is not dict:
                yield number, RowError(number, None, RowReason.NOT_JSON, "the line is not a JSON object", ONE_OBJECT)
                continue
            names = len(row)
            for value in row.values():
                if type(value) is dict:
                    names += len(value)
            # The parser keeps the last of two equal keys, so the line then has more keys than the objects.
            if line.count(b'":') != names and (twice := _repeated(line)) is not None:
                message = f"the key {twice!r} occurs twice in one object"
                yield number, RowError(number, twice, RowReason.REPEATED_KEY, message, "remove one of them")
                continue
            yield number, row


def _why_not_json(number: int, line: bytes, cause: Exception) -> RowError:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"the line is not JSON (byte {error.start + 1} is not UTF-8)"
        return RowError(number, None, RowReason.ENCODING, message, "write JSON in UTF-8")
    constants: list[str] = []
    try:
        json.loads(line, parse_constant=constants.append)
    except (ValueError, RecursionError):
        constants.clear()
    if constants:
        message = f"the line is not JSON ({constants[0]} is not a JSON number)"
        return RowError(number, None, RowReason.NOT_JSON, message, "write null for a missing value")
    return RowError(number, None, RowReason.NOT_JSON, f"the line is not JSON ({cause})", ONE_OBJECT)


def _repeated(line: bytes) -> str | None:
    """Return a key that occurs twice in one object of the line, else None."""
    found: list[str] = []

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names: set[str] = set()
        for name, _ in pairs:
            if name in names:
                found.append(name)
            names.add(name)
        return dict(pairs)

    json.loads(line, object_pairs_hook=check)
    return found[0] if found else None
