"""Converts messages to rows in the text format of ``COPY``, and copies them into a table in one transaction.

A message is converted only if each of its values has exactly the type of its column. Every other message gets no row
here, and Postgres decides on it (``upsert_sql``). So a converted row has the values that Postgres would read itself,
except that a number in a ``jsonb`` column has the precision of a double, which is that of our own documents.
"""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

import orjson

from flink_jobs.job.archiver.columns import JSON
from flink_jobs.job.archiver.tables import copy_sql, create_incoming_sql, upsert_copied_sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from flink_jobs.job.archiver.tables import Archive

_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _null(_: None) -> str:
    return "\\N"


def _double(value: float) -> str:
    return repr(value + 0.0)  # turns -0.0 into 0.0, as the number of a JSON text does in Postgres


def _truth(value: bool) -> str:  # noqa: FBT001 - a converter
    return "t" if value else "f"


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


_Converters = dict[type, Callable[[Any], str]]
"""How a cell is written, by the exact type of its value."""

_WHOLE: Final[_Converters] = {int: str, NoneType: _null}
_CONVERTERS: Final[dict[str, _Converters]] = {
    "text": {str: str, NoneType: _null},
    "integer": _WHOLE,
    "bigint": _WHOLE,
    "double precision": {float: _double, int: _double, NoneType: _null},
    "boolean": {bool: _truth, NoneType: _null},
    JSON: {dict: _json, list: _json, NoneType: _null},
}

_Cell = tuple[str, str | None, str | int | None, _Converters]
"""Field, field in the field, default, converters of the column's type."""


def rows_of(archive: Archive, messages: Sequence[str]) -> list[str | None]:
    """Return the row of each message, without its number and its line feed; ``None`` where Postgres must decide."""
    cells: list[_Cell] = []
    for name, kind in archive.columns.items():
        origin = archive.origins.get(name)
        path, default = ((name,), None) if origin is None else (origin.path, origin.default)
        cells.append((path[0], path[1] if len(path) > 1 else None, default, _CONVERTERS[kind]))
    return [_row(cells, message) for message in messages]


def copy_rows(connection: psycopg.Connection[Any], archive: Archive, rows: Sequence[str | None]) -> None:
    """Write rows in one transaction of their own: ``COPY`` into the session's temporary table, then the upsert.

    Raises:
        psycopg.Error: nothing is written.
    """
    with connection.transaction():
        connection.execute(create_incoming_sql(archive).encode())
        with connection.cursor() as cursor, cursor.copy(copy_sql(archive).encode()) as copy:
            copy.write("".join([f"{row}\t{number}\n" for number, row in enumerate(rows)]))
        connection.execute(upsert_copied_sql(archive).encode())


def _row(cells: Sequence[_Cell], message: str) -> str | None:
    # In JSON, each character that COPY needs escaped is itself escaped. So a text without a backslash needs no escapes.
    is_escaped = "\\" in message
    if is_escaped and "\\u0000" in message:
        return None
    try:
        document = orjson.loads(message)
    except ValueError:
        return None
    if type(document) is not dict:
        return None
    row: list[str] = []
    for field, inner, default, converters in cells:
        value = document.get(field)
        if inner is not None and value is not None:
            if type(value) is not dict:
                return None
            value = value.get(inner)
        if value is None:
            value = default
        convert = converters.get(type(value))
        if convert is None:
            return None
        cell = convert(value)
        row.append(cell.translate(_ESCAPES) if is_escaped and value is not None else cell)
    return "\t".join(row)
