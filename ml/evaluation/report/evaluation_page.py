"""The evaluation report as one HTML file that opens without a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from flink_jobs.reports.charts import Interval, Series, histogram, interval_chart, line_chart, trend_chart
from flink_jobs.reports.pages import Chart, chart, render
from ml.evaluation.report.words import (
    BLEND_COLUMNS,
    GROUP_COLUMNS,
    IMPORTANCE_COLUMNS,
    OWN_COLUMNS,
    PERIOD_COLUMNS,
    PROBABILITY_COLUMNS,
    RELIABILITY_COLUMNS,
    SMALL_GROUP,
    STRESS_COLUMNS,
    THRESHOLD_COLUMNS,
    blend_rows,
    day,
    facts,
    group_row,
    importance_rows,
    own_rows,
    period_rows,
    probability_rows,
    reliability_rows,
    resampling,
    score_columns,
    score_row,
    stress_facts,
    stress_gaps,
    stress_rows,
    threshold_rows,
)

if TYPE_CHECKING:
    from ml.evaluation.bootstrap import Estimate
    from ml.evaluation.document import EvaluationDocument, JudgedBlend
    from ml.evaluation.evaluation import ScoreReport
    from ml.evaluation.segments import Group

MIN_BIN_ROWS: Final = 20
"""The calibration chart omits bins with fewer rows; ``evaluation.json`` has them."""


def evaluation_page(document: EvaluationDocument) -> str:
    """Return the page."""
    judged = document.evaluation
    return render(
        "evaluation.html.j2",
        document=document,
        options=judged.options,
        facts=facts(judged),
        resampling=resampling(judged),
        small_group=SMALL_GROUP,
        score_columns=score_columns(judged),
        score_rows=[score_row(report, judged.baseline) for report in judged.scores],
        blend_columns=BLEND_COLUMNS,
        blend_rows=blend_rows(document),
        period_columns=PERIOD_COLUMNS,
        importance_columns=IMPORTANCE_COLUMNS,
        own_columns=OWN_COLUMNS,
        over_time=[
            {
                "name": name,
                "periods": period_rows(blend.periods),
                "importance": importance_rows(blend.importance),
                "own": own_rows(document.models[name]),
                "charts": _over_time(name, blend),
            }
            for name, blend in document.blends.items()
        ],
        threshold_columns=THRESHOLD_COLUMNS,
        threshold_rows=[(name, threshold_rows(blend.thresholds)) for name, blend in document.blends.items()],
        stress_columns=STRESS_COLUMNS,
        stress=[
            {
                "name": name,
                "facts": stress_facts(blend.stress),
                "rows": stress_rows(blend.stress),
                "gaps": stress_gaps(blend.stress),
            }
            for name, blend in document.blends.items()
            if blend.stress is not None
        ],
        probability_columns=PROBABILITY_COLUMNS,
        probability_rows=probability_rows(document),
        reliability_columns=RELIABILITY_COLUMNS,
        reliability=[
            (name, reliability_rows(blend.probability))
            for name, blend in document.blends.items()
            if blend.probability is not None
        ],
        curves=list(_curves(judged.scores)),
        distributions=[*map(_histogram, judged.scores), _calibration(judged.scores)],
        rules=[
            _intervals("Precision of each rule", "precision", judged.rules, "precision"),
            _intervals("Recall of each rule", "recall", judged.rules, "recall"),
        ],
        group_columns=GROUP_COLUMNS,
        rule_rows=[group_row(group) for group in judged.rules],
        scores=[_segments(report) for report in judged.scores],
        models=_models(document),
    )


def _curves(reports: Sequence[ScoreReport]) -> Iterator[Chart]:
    roc = [
        Series(report.name, [0.0, *report.curves.false_positive_rate], [0.0, *report.curves.recall])
        for report in reports
    ]
    labels = ("false-positive rate", "recall")
    yield chart("ROC curve", line_chart("ROC curve", labels, roc, unit_square=True, diagonal=True))
    steps = [_steps(report) for report in reports]
    title = "Precision and recall"
    yield chart(title, line_chart(title, ("recall", "precision"), steps, unit_square=True))


def _steps(report: ScoreReport) -> Series:
    """Return precision over recall as steps; a straight line between two thresholds would show unreachable values."""
    recall, precision = report.curves.recall, report.curves.precision
    return Series(report.name, [0.0, *np.repeat(recall, 2)[:-1]], np.repeat(precision, 2).tolist())


def _histogram(report: ScoreReport) -> Chart:
    title = f"Scores of {report.name}"
    classes = (("genuine", report.histogram.genuine), ("fraud", report.histogram.fraud))
    return chart(title, histogram(title, "score", classes))


def _calibration(reports: Sequence[ScoreReport]) -> Chart:
    series = []
    for report in reports:
        points = [
            (one.mean_score, one.fraud_rate.value, one.fraud_rate.low or 0.0, one.fraud_rate.high or 0.0)
            for one in report.calibration.reliability
            if one.rows >= MIN_BIN_ROWS and one.mean_score is not None and one.fraud_rate.value is not None
        ]
        columns = list(zip(*points, strict=True)) or [(), (), (), ()]
        series.append(Series(report.name, *columns))
    labels = ("mean score of the bin", "fraud rate")
    return chart("Calibration", line_chart("Calibration", labels, series, unit_square=True, diagonal=True))


def _over_time(name: str, blend: JudgedBlend) -> list[Chart]:
    labels = [day(period.first_event_time_ms) for period in blend.periods]
    if not labels:
        return []
    charts = []
    for title, values in (
        (f"Alerts of {name}", [period.alerts / period.days for period in blend.periods]),
        (f"Recall of {name}", [period.recall or 0.0 for period in blend.periods]),
    ):
        charts.append(chart(title, trend_chart(title, labels, values)))
    return charts


def _segments(report: ScoreReport) -> dict[str, Any]:
    """Return the values of one score's segments: by fraud pattern, then by each grouping."""
    scenarios = _intervals(f"Recall of {report.name} by fraud pattern", "recall", report.scenarios, "recall").svg
    groupings = []
    for name, groups in groupby(report.groups, key=lambda group: group.grouping):
        members = list(groups)
        rate = "false-positive rate"
        charts = [
            _intervals(f"Recall by {name}", "recall", members, "recall"),
            _intervals(f"False-positive rate by {name}", rate, members, "false_positive_rate"),
        ]
        groupings.append({"name": name, "charts": charts, "rows": [group_row(group) for group in members]})
    return {
        "name": report.name,
        "threshold": report.threshold,
        "scenarios": scenarios if report.scenarios else None,
        "groupings": groupings,
    }


def _intervals(title: str, label: str, groups: Sequence[Group], attribute: str) -> Chart:
    rows = []
    for group in groups:
        measured: Estimate = getattr(group, attribute)
        name = f"{group.name} †" if group.is_small else group.name
        rows.append(Interval(name, measured.value, measured.low, measured.high))
    return chart(title, interval_chart(title, label, rows))


def _models(document: EvaluationDocument) -> list[tuple[str, ...]]:
    return [
        (name, manifest.version, manifest.kind, manifest.arrays_sha256[:16],
         f"{manifest.training_data.rows:,} rows of {manifest.training_data.source}")
        for name, manifest in document.models.items()
    ]  # fmt: skip
