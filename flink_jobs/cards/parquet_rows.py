"""Reads the rows of a Parquet file; a value that Python cannot hold is the error of its row."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from flink_jobs.cards.row_errors import RowError, RowReason
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from flink_jobs.cards.streams import Row

PARQUET_BATCH_ROWS = 4_096
FLOAT32_CENTS = 131_072.0
"""From this amount on, a 32-bit float cannot tell one cent from the next."""


def parquet_rows(
    path: Path, columns: Collection[str], amounts: Collection[str], check_columns: Callable[[Collection[str]], None]
) -> Iterator[Row]:
    """Yield the rows of a Parquet file, numbered from 1.

    Args:
        path: the file.
        columns: the columns to read.
        amounts: columns with amounts, which must not be large 32-bit floats.
        check_columns: called with the names of the file; raises if the mapping names others.

    Raises:
        UserError: the file cannot be read, or two columns have one name.
    """
    import pyarrow as pa  # noqa: PLC0415 - takes a second to import, and only Parquet needs it
    from pyarrow import parquet  # noqa: PLC0415

    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            repeated = [name for name, count in Counter(schema.names).items() if count > 1]
            if repeated:
                raise UserError(f"{path}: column names repeat: {', '.join(repeated)}", "give each column its own name")
            check_columns(schema.names)
            roots = {column.split(".")[0] for column in columns}
            wanted = [name for name in schema.names if name in roots]
            narrow = [name for name in amounts if name in wanted and schema.field(name).type == pa.float32()]
            number = 0
            for batch in file.iter_batches(batch_size=PARQUET_BATCH_ROWS, columns=wanted):
                for row in _rows(batch, pa):
                    number += 1
                    yield number, _checked(number, row, narrow)
    except (pa.ArrowException, OSError) as cause:
        what = f"{path} cannot be read as Parquet ({cause})"
        raise UserError(what, "check that it is complete and not of another format") from None


def _rows(batch: Any, pa: Any) -> Iterator[dict[str, Any] | tuple[str, Exception]]:  # noqa: ANN401 - pyarrow has no types
    """Yield the rows of a batch; for a row that Python cannot hold, its column and the error."""
    names = batch.schema.names
    # Nanoseconds have no Python type; a transaction is timed in milliseconds.
    arrays = [
        column.cast(pa.timestamp("us", column.type.tz), safe=False)
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns"
        else column
        for column in batch.columns
    ]
    try:
        values = [array.to_pylist() for array in arrays]
    except Exception:  # noqa: BLE001 - pytz, datetime and pyarrow raise many types; the rows are then read singly
        yield from (_single(names, arrays, place) for place in range(batch.num_rows))
    else:
        yield from (dict(zip(names, cells, strict=True)) for cells in zip(*values, strict=True))


def _single(names: list[str], arrays: list[Any], place: int) -> dict[str, Any] | tuple[str, Exception]:
    row = {}
    for name, array in zip(names, arrays, strict=True):
        try:
            row[name] = array[place].as_py()
        except Exception as cause:  # noqa: BLE001 - see _rows
            return name, cause
    return row


def _checked(
    number: int, row: dict[str, Any] | tuple[str, Exception], narrow: Collection[str]
) -> dict[str, Any] | RowError:
    if isinstance(row, tuple):
        column, cause = row
        if isinstance(cause, OverflowError):
            message = f"column {column!r}: the value is not a time: too large ({cause})"
            return RowError(number, column, RowReason.TOO_LARGE, message)
        message = f"column {column!r}: the value is not a time ({type(cause).__name__}: {cause})"
        return RowError(number, column, RowReason.NOT_A_TIME, message, "write the column with a known time zone")
    for name in narrow:
        value = row[name]
        if value is not None and abs(value) >= FLOAT32_CENTS:
            message = f"column {name!r}: {value} was stored as a 32-bit float, which lost cents"
            return RowError(number, name, RowReason.TOO_LARGE, message, "store amounts as decimal, text or double")
    return row
