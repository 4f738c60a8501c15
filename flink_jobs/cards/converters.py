"""Converts single cells of a card file to fields of a transaction, without rounding errors.

A cell is text (CSV), or any value of Parquet and JSON (int, float, datetime, ...). An empty cell and NaN mean "no
value". A converter raises ``CellError`` with the expected content; the caller adds row and column.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, tzinfo
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import TYPE_CHECKING, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flink_jobs.cards.row_errors import CellError, RowReason
from flink_jobs.core.currencies import MINOR_UNITS
from flink_jobs.core.parsing.purchase_ids import normal_ip, purchase_id

if TYPE_CHECKING:
    from collections.abc import Callable

Cell = object

EXPONENTS = {code: round(math.log10(units)) for code, units in MINOR_UNITS.items()}
DEFAULT_EXPONENT = 2  # for an unknown currency, which the detector rejects
TOO_LARGE = 2**63  # first integer that the JSON encoder cannot write; real amounts and times are far smaller
EXACT_FLOAT = 2**53  # from here on a float stands for more than one integer
LONGEST_SHOWN = 60
UNIX_SHIFTS = {"unix_s": 3, "unix_ms": 0, "unix_us": -3, "unix_ns": -6}
"""Power of ten from each unit to milliseconds."""
TIME_FORMATS = (*UNIX_SHIFTS, "iso")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROUNDED_ID = re.compile(r"[+-]?\d+([.,]\d+)?[eE]\+\d+")


def shown(cell: Cell) -> str:
    """Return a cell for an error message, cut to 60 characters."""
    text = repr(cell)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def fail(cell: Cell, problem: str, reason: RowReason) -> NoReturn:
    """Raise the error of a cell.

    Raises:
        CellError: always.
    """
    message = f"{shown(cell)} {problem}"
    raise CellError(message, reason)


def is_missing(cell: Cell) -> bool:
    """Return whether a cell has no value: None, NaN, or only white space."""
    if cell is None:
        return True
    if isinstance(cell, str):
        return not cell or cell.isspace()
    return isinstance(cell, float) and math.isnan(cell)


def to_text(cell: Cell) -> str:
    """Return a cell as text; a whole float, as Parquet stores a nullable int, loses its ``.0``.

    Raises:
        CellError: the cell is a list, an object or a truth value, a float that lost digits, or no UTF-8.
    """
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, bool | dict | list | tuple | set):
        fail(cell, f"is a {type(cell).__name__}, not a text or a number", RowReason.WRONG_TYPE)
    if isinstance(cell, float) and cell.is_integer():
        if abs(cell) >= EXACT_FLOAT:
            fail(cell, "is a floating-point number that lost digits; store it as text", RowReason.INEXACT_ID)
        return str(int(cell))
    if isinstance(cell, bytes):
        try:
            return cell.decode("utf-8").strip()
        except UnicodeDecodeError:
            fail(cell, "is not UTF-8", RowReason.ENCODING)
    return str(cell)


def exact_id(text: str) -> str:
    """Return the text of an id.

    Raises:
        CellError: the text is like 4.99E+18, which a spreadsheet has rounded: it merges customers.
    """
    if "+" in text and _ROUNDED_ID.fullmatch(text):
        fail(text, "was rounded by a spreadsheet; export the column as text", RowReason.INEXACT_ID)
    return text


def to_group(cell: Cell) -> str:
    """Return a label, pattern or segment as text; a truth value is allowed."""
    return str(cell) if isinstance(cell, bool) else to_text(cell)


def to_decimal(cell: Cell) -> Decimal:
    """Return a cell as an exact, finite decimal number.

    Raises:
        CellError: it is not one.
    """
    text = cell.strip() if isinstance(cell, str) else to_text(cell) if isinstance(cell, bytes) else str(cell)
    try:
        number = Decimal(text)
    except InvalidOperation:
        fail(cell, "is not a number", RowReason.NOT_A_NUMBER)
    if not number.is_finite():
        fail(cell, "is not a finite number", RowReason.NOT_A_NUMBER)
    if "_" in text:  # Python reads 1_000, which no card file means
        fail(cell, "is not a number", RowReason.NOT_A_NUMBER)
    return number


def minor_units(cell: Cell, exponent: int) -> int:
    """Return an amount in minor units; exponent 2 converts dollars, exponent 0 takes cents.

    Fractions of a minor unit are rounded half up: card networks settle in whole minor units.
    """
    return whole(to_decimal(cell), exponent)


def whole(number: Decimal, shift: int) -> int:
    """Return ``number`` times ten to the ``shift``, rounded half up to a whole number.

    Raises:
        CellError: the result has no place in 64 bits.
    """
    try:
        result = int(number.scaleb(shift).quantize(Decimal(1), rounding=ROUND_HALF_UP))
    except ArithmeticError:  # beyond the 28 digits, or beyond the exponents, of a decimal
        result = TOO_LARGE
    if abs(result) >= TOO_LARGE:
        message = f"{number} is too large"
        raise CellError(message, RowReason.TOO_LARGE)
    return result


def coordinate(cell: Cell) -> float:
    """Return a latitude or longitude in degrees; the detector checks its range.

    Raises:
        CellError: it is not a number, or too large for one.
    """
    degrees = float(to_decimal(cell))
    if not math.isfinite(degrees):
        fail(cell, "is too large", RowReason.TOO_LARGE)
    return degrees


def time_converter(time_format: str, zone: tzinfo, year: int | None = None) -> Callable[[Cell], int]:
    """Return a converter to milliseconds since the epoch.

    Args:
        time_format: a key of ``UNIX_SHIFTS``, ``iso``, or a ``strptime`` pattern such as ``%d/%m/%Y %H:%M``.
        zone: the time zone of cells without one.
        year: the year of every cell, for a pattern without a year.
    """
    if time_format in UNIX_SHIFTS:
        scale = UNIX_SHIFTS[time_format]
        return lambda cell: whole(to_decimal(cell), scale)
    pattern, before = (time_format, "") if year is None else (f"%Y {time_format}", f"{year:04d} ")
    width = _fixed_width(time_format)

    def convert(cell: Cell) -> int:
        moment = cell
        if not isinstance(moment, datetime):
            text = to_text(cell)
            if width is not None and len(text) != width:
                fail(cell, f"is not a time in the format {time_format}: needs {width} digits", RowReason.NOT_A_TIME)
            moment = _read_time(before + text, pattern, time_format)
        return millis_of(moment, zone)

    return convert


def millis_of(moment: datetime, zone: tzinfo) -> int:
    """Return milliseconds since the epoch; a moment without a time zone is in ``zone``.

    Raises:
        CellError: the moment is too close to the first or last year of the calendar.
    """
    try:
        since = (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)) - _EPOCH
    except OverflowError:
        fail(moment.isoformat(), "is not a time: too large", RowReason.TOO_LARGE)
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000


def _read_time(text: str, pattern: str, time_format: str) -> datetime:
    try:
        return datetime.fromisoformat(text) if pattern == "iso" else datetime.strptime(text, pattern)  # noqa: DTZ007 - the mapping's zone is set by the caller
    except (ValueError, OverflowError):
        fail(text, f"is not a time in the format {time_format}", RowReason.NOT_A_TIME)


def _fixed_width(time_format: str) -> int | None:
    """Return the number of digits of a pattern without separators, such as ``%m%d%H%M%S``; else None.

    A spreadsheet drops leading zeros; ``strptime`` would then read other digits as the month, without an error.
    """
    if re.fullmatch(r"(%[YymdHMSj]){2,}", time_format) is None:
        return None
    return len(datetime(2000, 10, 10, 10, 10, 10, tzinfo=UTC).strftime(time_format))


def zone_named(name: str) -> tzinfo:
    """Return a time zone by its name.

    Raises:
        ValueError: there is no such time zone.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"{name!r} is not a time zone"
        raise ValueError(message) from None


def valid_id(field: str, cell: object) -> str | None:
    """Return the id of a row as a decision has it, ``None`` for a value that the detector takes as unknown."""
    if field == "ip":
        return normal_ip(cell) if isinstance(cell, str) else None
    return purchase_id(field, cell)
