"""Prints results of commands: text and tables for users, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

# Results go to standard output, progress and errors to standard error: `streamflow status --output json | jq` works.
# Without a terminal, lines are not wrapped or cut: the reader is a file or a program.
_WIDTH = None if sys.stdout.isatty() else 240
out = Console(highlight=False, width=_WIDTH)
err = Console(stderr=True, highlight=False)


# Columns with cells that users copy; they never wrap.
_WHOLE = frozenset({"id", "pid", "name", "customer", "state", "component"})


class Output(StrEnum):
    """How results are printed."""

    PLAIN = "plain"
    JSON = "json"


OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="plain: text and tables; json: one JSON document, also for errors")
]


def say(text: str) -> None:
    """Print a progress message on standard error."""
    err.print(text, markup=False, soft_wrap=True)


def print_json(value: object) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def emit(output: Output, value: object, plain: Callable[[], None]) -> None:
    """Print a result, as JSON or by calling ``plain``."""
    if output is Output.JSON:
        print_json(value)
    else:
        plain()


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Print a table without borders; an empty cell is printed as a dash."""
    grid = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column, no_wrap=column in _WHOLE, overflow="fold")
    for row in rows:
        grid.add_row(*("-" if cell is None or cell == "" else str(cell) for cell in row))
    out.print(grid, soft_wrap=False)


def duration(seconds: float | None) -> str | None:
    """Return a duration in its largest unit, for a table: ``59.9 s``, ``1 min``, ``1.0 h``, ``1.0 d``."""
    if seconds is None:
        return None
    minute, hour, day = 60, 3600, 86400
    if seconds < minute:
        return f"{seconds:.1f} s"
    if seconds < hour:
        return f"{seconds / minute:.0f} min"
    return f"{seconds / hour:.1f} h" if seconds < day else f"{seconds / day:.1f} d"
