"""The report as one HTML file: no script, no font, no picture from anywhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from ml.evaluation.report.svg import Interval, Series, histogram, interval_plot, line_plot
from ml.evaluation.report.words import (
    GROUP_COLUMNS,
    SMALL_GROUP,
    facts,
    group_row,
    resampling,
    score_columns,
    score_row,
    with_interval,
)

if TYPE_CHECKING:
    from ml.evaluation.bootstrap import Estimate
    from ml.evaluation.document import EvaluationDocument
    from ml.evaluation.evaluation import ScoreReport
    from ml.evaluation.segments import Group

STYLE: Final = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
_READING: Final = (
    "found before left out. Brier score and calibration error read a score as a probability; only a score trained on "
    "labels can be one.</p>"
)
MIN_BIN_ROWS: Final = 20
"""Reliability bins with fewer rows are in the table of the JSON, not in the plot."""


def html_page(document: EvaluationDocument) -> str:
    """Write the page."""
    judged = document.evaluation
    parts = [
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width,initial-scale=1'>",
        f"<title>Evaluation on {escape(document.source)}</title><style>{STYLE}</style></head><body><main>",
        f"<h1>Evaluation on {escape(document.source)}</h1>",
        f"<p>{escape(facts(judged))}; {escape(resampling(judged))}.</p>",
        "<h2>Scores</h2>",
        _table(score_columns(judged), [score_row(report, judged.baseline) for report in judged.scores]),
        f"<p>Card precision at k is over the {judged.options.cards_per_day} cards of highest score of each day, cards "
        + _READING,
        "<div class='plots'>",
        *_curves(judged.scores),
        "</div><h2>Scores by class, and calibration</h2><div class='plots'>",
        *(_histogram(report) for report in judged.scores),
        _reliability(judged.scores),
        "</div><h2>Rules</h2><p>Each rule as if it alone alerted, whatever its weight.</p>",
        "<div class='plots'>",
        _intervals("Precision of each rule", "precision", judged.rules, "precision"),
        _intervals("Recall of each rule", "recall", judged.rules, "recall"),
        "</div>",
        _table(GROUP_COLUMNS, [group_row(group) for group in judged.rules]),
        *(_segments(report) for report in judged.scores),
        "<h2>What was judged</h2>",
        _table(("contender", "model", "kind", "digest", "trained on"), _models(document)),
        f"<p>{escape(document.created_at)}, code {escape(document.code_version)}, ",
        f"data SHA-256 {escape(document.source_sha256 or 'not a file')}.</p></main></body></html>\n",
    ]
    return "".join(parts)


def _curves(reports: Sequence[ScoreReport]) -> Iterable[str]:
    roc = [
        Series(report.name, [0.0, *report.curves.false_positive_rate], [0.0, *report.curves.recall])
        for report in reports
    ]
    yield line_plot("ROC", ("false-positive rate", "recall"), roc, diagonal=True)
    yield line_plot("Precision and recall", ("recall", "precision"), [_steps(report) for report in reports])


def _steps(report: ScoreReport) -> Series:
    """Return precision over recall as steps: a straight line between two thresholds would promise too much."""
    recall, precision = report.curves.recall, report.curves.precision
    return Series(report.name, [0.0, *np.repeat(recall, 2)[:-1]], np.repeat(precision, 2).tolist())


def _histogram(report: ScoreReport) -> str:
    classes = (("genuine", report.histogram.genuine), ("fraud", report.histogram.fraud))
    return histogram(f"Scores: {report.name}", "score", classes)


def _reliability(reports: Sequence[ScoreReport]) -> str:
    series = []
    for report in reports:
        points = [
            (one.mean_score, one.fraud_rate.value, one.fraud_rate.low or 0.0, one.fraud_rate.high or 0.0)
            for one in report.calibration.reliability
            if one.rows >= MIN_BIN_ROWS and one.mean_score is not None and one.fraud_rate.value is not None
        ]
        columns = list(zip(*points, strict=True)) or [(), (), (), ()]
        series.append(Series(report.name, *columns))
    return line_plot("Calibration", ("mean score of the bin", "fraud rate"), series, diagonal=True)


def _segments(report: ScoreReport) -> str:
    parts = [f"<details><summary>Segments: {escape(report.name)} at {report.threshold:.3f}</summary>"]
    parts.append(f"<p>{SMALL_GROUP}</p>")
    if report.scenarios:
        parts.append(_intervals("Recall by fraud pattern", "recall", report.scenarios, "recall"))
    for name, groups in groupby(report.groups, key=lambda group: group.grouping):
        members = list(groups)
        parts.append(f"<h3>By {escape(name)}</h3><div class='plots'>")
        parts.append(_intervals(f"Recall by {name}", "recall", members, "recall"))
        parts.append(
            _intervals(f"False-positive rate by {name}", "false-positive rate", members, "false_positive_rate")
        )
        parts.append("</div>")
        parts.append(_table(GROUP_COLUMNS, [group_row(group) for group in members]))
    parts.append("</details>")
    return "".join(parts)


def _intervals(title: str, label: str, groups: Sequence[Group], attribute: str) -> str:
    rows = []
    for group in groups:
        measured: Estimate = getattr(group, attribute)
        note = f"{with_interval(measured)}; {group.rows:,} rows, {group.frauds:,} frauds"
        name = f"{group.name} †" if group.is_small else group.name
        rows.append(Interval(name, measured.value, measured.low, measured.high, note))
    return interval_plot(title, label, rows)


def _models(document: EvaluationDocument) -> list[tuple[str, ...]]:
    return [
        (name, manifest.version, manifest.kind, manifest.arrays_sha256[:16],
         f"{manifest.training_data.rows:,} rows of {manifest.training_data.source}")
        for name, manifest in document.models.items()
    ]  # fmt: skip


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='table'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
