"""Converts single cells of a card file to fields of a transaction, without rounding errors.

A cell is text (CSV), or any value of Parquet and JSON (int, float, datetime, ...). An empty cell and NaN mean "no
value". A converter raises ``CellError`` with the expected content; the caller adds row and column.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, tzinfo
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flink_jobs.core.currencies import MINOR_UNITS

if TYPE_CHECKING:
    from collections.abc import Callable

Cell = object

EXPONENTS = {code: round(math.log10(units)) for code, units in MINOR_UNITS.items()}
DEFAULT_EXPONENT = 2  # for an unknown currency, which the detector rejects
TOO_LARGE = 2**63  # first integer that the JSON encoder cannot write; real amounts and times are far smaller
TIME_FORMATS = ("unix_s", "unix_ms", "iso")


class CellError(ValueError):
    """A cell does not have the content that the mapping names."""


def is_missing(cell: Cell) -> bool:
    """Return whether a cell has no value: None, NaN, or only white space."""
    if cell is None:
        return True
    if isinstance(cell, str):
        return not cell.strip()
    return isinstance(cell, float) and math.isnan(cell)


def to_text(cell: Cell) -> str:
    """Return a cell as text; a whole float, as Parquet stores a nullable int, loses its ``.0``."""
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)


def to_decimal(cell: Cell) -> Decimal:
    """Return a cell as an exact, finite decimal number.

    Raises:
        CellError: it is not one.
    """
    try:
        number = Decimal(cell.strip() if isinstance(cell, str) else str(cell))
    except InvalidOperation:
        message = f"{cell!r} is not a number"
        raise CellError(message) from None
    if not number.is_finite():
        message = f"{cell!r} is not a finite number"
        raise CellError(message)
    return number


def minor_units(cell: Cell, exponent: int) -> int:
    """Return an amount in minor units; exponent 2 converts dollars, exponent 0 takes cents.

    Fractions of a minor unit are rounded half up: card networks settle in whole minor units.
    """
    return _whole(to_decimal(cell), exponent)


def _whole(number: Decimal, shift: int) -> int:
    """Return ``number`` times ten to the ``shift``, rounded half up to a whole number."""
    try:
        whole = int(number.scaleb(shift).quantize(Decimal(1), rounding=ROUND_HALF_UP))
    except InvalidOperation:  # beyond the 28 digits of a decimal
        whole = TOO_LARGE
    if abs(whole) >= TOO_LARGE:
        message = f"{number} is too large"
        raise CellError(message)
    return whole


def coordinate(cell: Cell) -> float:
    """Return a latitude or longitude in degrees; the detector checks its range."""
    return float(to_decimal(cell))


def time_converter(time_format: str, zone: tzinfo) -> Callable[[Cell], int]:
    """Return a converter to milliseconds since the epoch.

    Args:
        time_format: ``unix_s``, ``unix_ms``, ``iso``, or a ``strptime`` pattern such as ``%d/%m/%Y %H:%M``.
        zone: the time zone of cells without one.
    """
    if time_format in {"unix_s", "unix_ms"}:
        scale = 3 if time_format == "unix_s" else 0
        return lambda cell: _whole(to_decimal(cell), scale)

    def convert(cell: Cell) -> int:
        moment = cell if isinstance(cell, datetime) else _read_time(to_text(cell), time_format)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000

    return convert


def _read_time(text: str, time_format: str) -> datetime:
    try:
        return datetime.fromisoformat(text) if time_format == "iso" else datetime.strptime(text, time_format)  # noqa: DTZ007 - the mapping's zone is set by the caller
    except ValueError:
        message = f"{text!r} is not a time in the format {time_format}"
        raise CellError(message) from None


def zone_named(name: str) -> tzinfo:
    """Return a time zone by its name.

    Raises:
        CellError: there is no such time zone.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"{name!r} is not a time zone"
        raise CellError(message) from None
