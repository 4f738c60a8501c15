"""Errors of single rows of a card file: where, which column, why; and the collection of skipped rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable


class RowReason(StrEnum):
    """Why a row cannot be read. The values are stable; messages may change."""

    CELL_COUNT = "cell_count"
    """The row has more or fewer cells than the header."""
    QUOTE = "quote"
    """A quoted cell does not end on its line, or text follows its closing quote."""
    TOO_LONG = "too_long"
    """A cell or a line is longer than the limit."""
    ENCODING = "encoding"
    """Bytes are not text in the encoding of the file."""
    NOT_JSON = "not_json"
    """A line is not a JSON object."""
    REPEATED_KEY = "repeated_key"
    """A JSON object has one key twice."""
    MISSING_COLUMN = "missing_column"
    """A JSON object has no required key."""
    EMPTY = "empty"
    """A required cell is empty."""
    WRONG_TYPE = "wrong_type"
    """A cell is a list, an object or a truth value where a text is needed."""
    INEXACT_ID = "inexact_id"
    """An id went through a floating-point number and lost digits."""
    NOT_A_NUMBER = "not_a_number"
    """An amount, time or coordinate is not a number in the format of the mapping."""
    TOO_LARGE = "too_large"
    """A number or a time is beyond the range that can be sent."""
    NOT_A_TIME = "not_a_time"
    """A time does not have the format of the mapping."""
    UNKNOWN_LABEL = "unknown_label"
    """A label is neither a value for fraud nor a value for genuine."""
    REFUND = "refund"
    """The amount is negative, and the mapping says that such rows are refunds: ``amount: {refunds: skip}``."""


BY_MAPPING: Final = frozenset({RowReason.REFUND})
"""Rows that the mapping leaves out. They are no errors: they are skipped without ``--skip-bad-rows``, and listed."""


class CellError(ValueError):
    """A cell does not have the content that the mapping names.

    Attributes:
        reason: why.
        column: the column of the file, if it is known.
    """

    def __init__(self, message: str, reason: RowReason, column: str | None = None) -> None:
        """Keep the parts; the reader adds the row."""
        super().__init__(message)
        self.reason = reason
        self.column = column


@dataclass(frozen=True, slots=True)
class RowError:
    """One row that cannot be read.

    Attributes:
        row: line of the file at which the row starts, from 1; in Parquet the number of the row, from 1.
        column: the column of the file; None if the whole row is wrong.
        reason: stable code of the reason.
        message: what is wrong, without file and row.
        fix: what to do; empty: correct the row or the mapping.
    """

    row: int
    column: str | None
    reason: RowReason
    message: str
    fix: str = ""


class BadRowError(UserError):
    """A row that cannot be read, where rows are not skipped.

    Attributes:
        row_error: the row and the reason.
    """

    def __init__(self, place: str, error: RowError, fix: str) -> None:
        """Name the file and the row in the message."""
        super().__init__(f"{place}, row {error.row}: {error.message}", fix)
        self.row_error = error


@dataclass(slots=True)
class SkippedRows:
    """Counts rows that are left out: they cannot be read, or the mapping says so.

    Attributes:
        takes_errors: whether rows that cannot be read are skipped; otherwise such a row is an error.
        count: number of rows.
        first: place and problem of the first row; empty if there is none.
        by_reason: number of rows by reason.
        first_by_reason: the first row of each reason.
        on_skip: called for each row, for example to write it to a file.
    """

    count: int = 0
    first: str = ""
    by_reason: Counter[RowReason] = field(default_factory=Counter)
    first_by_reason: dict[RowReason, RowError] = field(default_factory=dict)
    on_skip: Callable[[RowError], None] | None = None
    takes_errors: bool = True

    def takes(self, reason: RowReason) -> bool:
        """Return whether a row with this reason is skipped."""
        return self.takes_errors or reason in BY_MAPPING

    def add(self, place: str, error: RowError) -> None:
        """Count one row of the file that ``place`` names."""
        self.first = self.first or f"{place}, row {error.row}: {error.message}"
        self.count += 1
        self.by_reason[error.reason] += 1
        self.first_by_reason.setdefault(error.reason, error)
        if self.on_skip is not None:
            self.on_skip(error)
