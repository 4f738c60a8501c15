"""Compact columns that are built row by row: numbers in numpy arrays, repeated texts as codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from hashlib import _Hash

    from numpy.typing import NDArray

NOTHING: Final = -1
"""Code of a row without text."""
_FIRST_ROWS: Final = 1_024


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of repeated texts.

    Attributes:
        codes: index into ``names`` for each row, or ``NOTHING``; int32.
        names: distinct texts in order of first appearance.
    """

    codes: NDArray[np.int32]
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.codes)

    def __getitem__(self, mask: NDArray[np.bool_] | NDArray[np.intp]) -> Coded:
        """Return the rows where ``mask`` is true, or the rows with the given numbers; codes keep their meaning."""
        return Coded(self.codes[mask], self.names)

    def text(self, row: int) -> str | None:
        """Return the text of one row."""
        code = int(self.codes[row])
        return None if code == NOTHING else self.names[code]

    def update(self, digest: _Hash) -> None:
        """Add the texts of all rows to a digest; the numbers of the codes do not change the digest."""
        used, first = np.unique(self.codes, return_index=True)
        order = used[np.argsort(first)]
        again = np.full(len(self.names) + 1, NOTHING, dtype="<i4")
        again[order] = np.arange(len(order))  # NOTHING is the last place
        for code in order.tolist():
            name = "" if code == NOTHING else self.names[code]
            digest.update(f"{code == NOTHING}|{len(name)}|{name}|".encode())
        digest.update(again[self.codes].tobytes())


class Coder:
    """Builds a ``Coded`` column row by row."""

    def __init__(self) -> None:
        """Start without rows."""
        self._codes = Grower("<i4")
        self._code_of: dict[str, int] = {}

    def append(self, text: str | None) -> None:
        """Add one row."""
        self._codes.append(NOTHING if text is None else self._code_of.setdefault(text, len(self._code_of)))

    def array(self) -> Coded:
        """Return the column."""
        return Coded(self._codes.array(), tuple(self._code_of))


class Grower:
    """Builds an array of numbers row by row; its size doubles when it is full."""

    def __init__(self, dtype: str, width: int | None = None) -> None:
        """Start without rows; ``width`` makes it a matrix with that many columns."""
        self._rows = np.empty(_FIRST_ROWS if width is None else (_FIRST_ROWS, width), dtype=dtype)
        self._count = 0

    def append(self, row: float | Sequence[float]) -> None:
        """Add one row."""
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._count] = row
        self._count += 1

    def array(self) -> NDArray[Any]:
        """Return the rows so far."""
        return self._rows[: self._count].copy()
