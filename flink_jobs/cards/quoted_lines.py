"""Joins the lines of a row whose quoted cells hold line breaks, if the mapping allows it (``file: line_breaks``).

A lost quote looks like such a cell. So a row is joined only if, within a few lines, its quotes pair and it has exactly
as many cells as the header has columns. Otherwise the line is read alone, and costs one row.
"""

from __future__ import annotations

import csv
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Line = tuple[int, bytes | None]

MOST_LINES: Final = 20
"""Lines of one row."""


def joined(lines: Iterator[Line], split: Callable[[bytes], list[str]], width: int) -> Iterator[Line]:
    """Yield lines, joined to rows; a row has the number of its first line.

    Args:
        lines: numbers and bytes; None for a line that is too long.
        split: returns the cells of a row, or raises csv.Error (UnicodeDecodeError) if it is no row.
        width: number of columns.
    """
    pending: deque[Line] = deque()
    while (first := pending.popleft() if pending else next(lines, None)) is not None:
        number, whole = first
        if whole is None or not _continues(whole, split):
            yield first
            continue
        block: list[Line] = []
        while len(block) < MOST_LINES - 1 and _continues(whole, split):
            more = pending.popleft() if pending else next(lines, None)
            if more is None:
                break
            block.append(more)
            if more[1] is None:
                break
            whole += more[1]
        if _cells(whole, split) == width:
            yield number, whole
        else:
            yield first
            pending.extendleft(reversed(block))


def _continues(row: bytes, split: Callable[[bytes], list[str]]) -> bool:
    """Return whether a quote opens in the row and does not end in it."""
    try:
        split(row)
    except csv.Error as cause:
        return "end of data" in str(cause)
    except UnicodeDecodeError:
        return False
    return False


def _cells(row: bytes, split: Callable[[bytes], list[str]]) -> int:
    """Return the number of cells, 0 if it is no row."""
    try:
        return len(split(row))
    except (csv.Error, UnicodeDecodeError):
        return 0
