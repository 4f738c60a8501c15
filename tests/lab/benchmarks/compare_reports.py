"""Compares two benchmark reports figure by figure and lists the figures that became worse."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flink_jobs.errors import UserError
from tests.lab.benchmarks.bench_report import LAYOUT, Figure, ResultSection, number, spread

if TYPE_CHECKING:
    from pathlib import Path

THRESHOLD = 0.10
"""Smallest loss that counts as a regression. Two runs of one commit on a quiet machine differ by less."""
_OF_THE_RUN = ("when", "commit", "load average before (1, 5, 15 min)")
"""Entries of the machine description that differ between any two runs."""


@dataclass(frozen=True)
class FigureChange:
    """One figure in both reports."""

    before: Figure
    after: Figure
    threshold: float

    @property
    def ratio(self) -> float:
        """New value relative to the old one, turned so that above 1 is better for rates and for times alike."""
        old, new = self.before.median, self.after.median
        return new / old if self.before.higher_is_better else old / new

    @property
    def verdict(self) -> str:
        """``REGRESSION``, ``better`` or an empty string.

        A figure whose rounds overlap with the old rounds is no regression, because the machine itself varied as much.
        """
        sign = 1 if self.before.higher_is_better else -1
        if self.ratio < 1 - self.threshold:
            apart = max(sign * value for value in self.after.values) < min(sign * value for value in self.before.values)
            return "REGRESSION" if apart else ""
        return "better" if self.ratio > 1 / (1 - self.threshold) else ""


@dataclass(frozen=True)
class ReportComparison:
    """The result of comparing two reports."""

    changes: list[FigureChange]
    missing: list[str]
    """Names of figures that only the old report has."""
    other_machine: list[str]
    """Differences between the machines; if there are any, the ratios say little about the code."""

    @property
    def regressions(self) -> list[FigureChange]:
        """The figures that became worse by more than the threshold."""
        return [change for change in self.changes if change.verdict == "REGRESSION"]


def compare(old: Path, new: Path, threshold: float = THRESHOLD) -> ReportComparison:
    """Compare two ``results.json`` files.

    Raises:
        UserError: a file cannot be read, or the reports have no figure in common.
    """
    before, after = _read(old), _read(new)
    ours, theirs = _figures(before), _figures(after)
    changes = [FigureChange(figure, theirs[name], threshold) for name, figure in ours.items() if name in theirs]
    if not changes:
        raise UserError(f"{old} and {new} have no figure in common", "compare reports of the same parts")
    machines = before["machine"], after["machine"]
    names = [name for name in machines[0] if name not in _OF_THE_RUN]
    other = [
        f"{name}: {machines[0][name]} -> {machines[1].get(name)}"
        for name in names
        if machines[0][name] != machines[1].get(name)
    ]
    return ReportComparison(changes, [name for name in ours if name not in theirs], other)


def as_section(found: ReportComparison, old: Path, new: Path) -> ResultSection:
    """Return the comparison as a table."""
    threshold = found.changes[0].threshold
    section = ResultSection(
        "compare",
        f"{new} against {old}",
        f"Medians, with the range of the rounds. Ratio: above 1 is better. A regression is a figure that lost more "
        f"than {threshold:.0%} and whose new rounds are all worse than all old rounds.",
        ("figure", "unit", "before", "after", "ratio", "verdict"),
    )
    for change in sorted(found.changes, key=lambda item: item.ratio):
        digits = 0 if change.before.median >= 100 else 2
        section.add(
            change.before.name,
            change.before.unit,
            spread(change.before.values, digits),
            spread(change.after.values, digits),
            number(change.ratio, 2),
            change.verdict,
        )
    return section


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
        layout = document.get("layout", 1)
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is not a report ({error})", "give a results.json that `make bench` wrote") from None
    if layout != LAYOUT:
        raise UserError(f"{path} has layout {layout}, expected {LAYOUT}", "measure again with this release")
    return dict(document)


def _figures(document: dict[str, Any]) -> dict[str, Figure]:
    figures = [
        Figure(item["name"], item["unit"], tuple(item["values"]), item["higher_is_better"])
        for section in document["sections"]
        for item in section["figures"]
    ]
    return {figure.name: figure for figure in figures}
