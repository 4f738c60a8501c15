"""Benchmark results as tables in the terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


LAYOUT = 2
"""Version of the layout of results.json; version 2 added figures."""


@dataclass(frozen=True)
class Figure:
    """One quantity by which two reports are compared; it keeps its name from release to release.

    Attributes:
        name: part and measured quantity, such as ``core: compiled``.
        unit: unit of the values.
        values: one value per round.
        higher_is_better: True for a rate, False for a time or a size.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    higher_is_better: bool

    @property
    def median(self) -> float:
        """Median of the rounds."""
        return statistics.median(self.values)


@dataclass
class ResultSection:
    """One table of the report.

    Attributes:
        name: name of the part, as given to ``--only``.
        title: one line above the table.
        method: meaning of the numbers and how they were measured.
        columns: column headings.
        rows: cells as printed.
        raw: all single measurements, for the JSON file.
        figures: quantities for the comparison with other reports.
    """

    name: str
    title: str
    method: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    raw: list[dict[str, Any]] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Check that all rows fit the headings."""
        for row in self.rows:
            self._check(row)

    def add(self, *cells: str) -> None:
        """Add a row.

        Raises:
            ValueError: the number of cells is not the number of columns.
        """
        self._check(cells)
        self.rows.append(cells)

    def rate(self, name: str, values: Sequence[float], unit: str = "events/s") -> None:
        """Add a figure for which higher is better."""
        self.figures.append(Figure(f"{self.name}: {name}", unit, tuple(values), higher_is_better=True))

    def cost(self, name: str, values: Sequence[float], unit: str) -> None:
        """Add a figure for which lower is better."""
        self.figures.append(Figure(f"{self.name}: {name}", unit, tuple(values), higher_is_better=False))

    def _check(self, row: Sequence[str]) -> None:
        if len(row) != len(self.columns):
            raise ValueError(f"{len(row)} cells in a table of {len(self.columns)} columns: {row}")


def number(value: float, digits: int = 0) -> str:
    """Return a number with thousands separated by commas."""
    return f"{value:,.{digits}f}"


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Return the median as text, with the range if there is more than one value."""
    middle = number(statistics.median(values), digits)
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values), digits)} to {number(max(values), digits)})"


def terminal_table(section: ResultSection) -> Table:
    """Return a section as a table for the terminal."""
    table = Table(title=section.title, caption=section.method, box=None, title_justify="left", caption_justify="left")
    for position, column in enumerate(section.columns):
        table.add_column(column, justify="right" if position else "left")
    for row in section.rows:
        table.add_row(*row)
    return table


def markdown(sections: Sequence[ResultSection], machine: dict[str, str], command: str) -> str:
    """Return the whole report as Markdown."""
    lines = ["# Benchmark", "", f"Command: `{command}`", ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    for section in sections:
        lines += ["", f"## {section.title}", "", _line(section.columns)]
        lines.append(_line(["---", *["---:"] * (len(section.columns) - 1)]))
        lines += [_line(row) for row in section.rows]
        lines += ["", section.method]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def write(folder: Path, sections: Sequence[ResultSection], machine: dict[str, str], command: str) -> tuple[Path, Path]:
    """Write ``results.md`` and ``results.json``; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    text, data = folder / "results.md", folder / "results.json"
    text.write_text(markdown(sections, machine, command))
    document = {
        "layout": LAYOUT,
        "command": command,
        "machine": machine,
        "sections": [asdict(section) for section in sections],
    }
    data.write_text(json.dumps(document, indent=2) + "\n")
    return text, data
