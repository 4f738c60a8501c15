"""Sources of one value of a row: a column, several columns, a constant, the number of the row or a digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flink_jobs.cards import converters
from flink_jobs.cards.converters import Cell
from flink_jobs.cards.row_errors import CellError, RowReason

if TYPE_CHECKING:
    from collections.abc import Mapping

ROW_NUMBER = "\0row"
"""Key under which a reader adds the number of the row, if the mapping needs it; no column can have this name."""
_DIGEST_CHARS = 32


@dataclass(frozen=True, slots=True)
class Source:
    """One column (with an optional prefix) or a constant.

    Attributes:
        key: the key of the mapping, for errors.
        column: the column; None for a constant.
        constant: the constant, or the value of an empty cell.
        prefix: a text before every value.
    """

    key: str
    column: str | None
    constant: str | None = None
    prefix: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the source reads."""
        return () if self.column is None or self.column == ROW_NUMBER else (self.column,)

    def cell(self, row: Mapping[str, Cell]) -> Cell:
        """Return the cell of a row, None if it has no value."""
        if self.column is None:
            return self.constant
        value = row[self.column] if self.column in row else _inside(row, self.column)
        return self.constant if converters.is_missing(value) else value

    def text(self, row: Mapping[str, Cell]) -> str | None:
        """Return the cell of a row as text with its prefix, None if it has no value.

        Raises:
            CellError: the cell cannot be a text.
        """
        value = row.get(self.column) if self.column is not None else None
        if type(value) is str:  # the usual case, first
            value = value.strip()
            return self.prefix + value if value else self.constant
        found = self.cell(row)
        return None if found is None else self.prefix + converters.to_text(found)

    def group(self, row: Mapping[str, Cell]) -> str | None:
        """Return the cell of a row as the name of a group, None if it has no value; a truth value is allowed."""
        value = self.cell(row)
        return None if value is None else self.prefix + converters.to_group(value)

    def required_cell(self, row: Mapping[str, Cell]) -> Any:  # noqa: ANN401 - cells have any type
        """Return the cell of a row.

        Raises:
            CellError: it has no value.
        """
        value = self.cell(row)
        return self.empty(row) if value is None else value

    def required_text(self, row: Mapping[str, Cell]) -> str:
        """Return the cell of a row as text with its prefix.

        Raises:
            CellError: it has no value, or cannot be a text.
        """
        return self.text(row) or self.empty(row)

    def empty(self, row: Mapping[str, Cell]) -> Any:  # noqa: ANN401 - never returns
        """Raise the error of a row without value.

        Raises:
            CellError: always.
        """
        for column in self.columns:
            if column.split(".")[0] not in row:
                message = f"{self.key} names the column {column!r}, which the row does not have"
                raise CellError(message, RowReason.MISSING_COLUMN, column)
        message = f"{self.key} is empty"
        raise CellError(message, RowReason.EMPTY, self.columns[0] if self.columns else None)


@dataclass(frozen=True, slots=True)
class JoinedSource(Source):
    """Several columns, joined by a separator, for example a date and a time; it has no value if all cells are empty."""

    parts: tuple[Source, ...] = ()
    separator: str = " "

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the source reads."""
        return tuple(column for part in self.parts for column in part.columns)

    def cell(self, row: Mapping[str, Cell]) -> Cell:
        """Return the joined cells of a row, None if all are empty."""
        texts = [part.text(row) or "" for part in self.parts]
        return self.separator.join(texts) if any(texts) else None

    def text(self, row: Mapping[str, Cell]) -> str | None:
        """Return the joined cells with the prefix, None if all are empty."""
        cell = self.cell(row)
        return None if cell is None else f"{self.prefix}{cell}"


@dataclass(frozen=True, slots=True)
class DigestSource(JoinedSource):
    """A digest of several columns: equal cells give equal ids, in every run."""

    def cell(self, row: Mapping[str, Cell]) -> Cell:
        """Return 32 hexadecimal digits, None if all cells are empty."""
        texts = [part.text(row) or "" for part in self.parts]
        if not any(texts):
            return None
        return hashlib.sha256("\x1f".join(texts).encode()).hexdigest()[:_DIGEST_CHARS]


def _inside(row: Mapping[str, Cell], path: str) -> Cell:
    """Return the value at a dotted path inside nested mappings, None if the path leads nowhere."""
    value: Any = row
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value
