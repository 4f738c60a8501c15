"""The model card of a contender, as Markdown.

The sections are those of Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019). Every number and every warning
comes from the manifest or the evaluation. The fixed sentences are in the template; they hold for every model of this
product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from flink_jobs.reports.pages import render
from ml.evaluation.governance import Governance
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
    number,
    own_rows,
    period_rows,
    probability_rows,
    reliability_rows,
    resampling,
    rule_in_words,
    score_columns,
    score_row,
    stress_facts,
    stress_gaps,
    stress_rows,
    threshold_rows,
)

if TYPE_CHECKING:
    from ml.evaluation.document import EvaluationDocument
    from ml.evaluation.evaluation import ScoreReport
    from ml.evaluation.segments import Group


def model_card(document: EvaluationDocument, contender: str) -> str:
    """Return the card of a contender that has a model."""
    manifest = document.models[contender]
    judged = document.evaluation
    report = next(report for report in judged.scores if report.name == contender)
    training = manifest.training_data
    blend = document.blends.get(contender)
    error = None if blend is None else blend.probability
    stress = None if blend is None else blend.stress
    return render(
        "model_card.md.j2",
        document=document,
        judged=judged,
        options=judged.options,
        manifest=manifest,
        report=report,
        training=training,
        training_span=f"{day(training.first_event_time_ms)} to {day(training.last_event_time_ms)}",
        facts=facts(judged),
        resampling=resampling(judged),
        small_group=SMALL_GROUP,
        score_columns=score_columns(judged),
        score_rows=[score_row(one, judged.baseline) for one in judged.scores],
        blend_columns=BLEND_COLUMNS,
        blend_rows=[row for row in blend_rows(document) if row[0] == contender],
        governance=document.governance or Governance(),
        governance_problems=(document.governance or Governance()).problems(),
        others=[one.name for one in judged.scores if one.name != contender],
        period_columns=PERIOD_COLUMNS,
        period_rows=[] if blend is None else period_rows(blend.periods),
        importance_columns=IMPORTANCE_COLUMNS,
        own_columns=OWN_COLUMNS,
        own_rows=own_rows(manifest),
        importance_rows=[] if blend is None else importance_rows(blend.importance),
        stress_columns=STRESS_COLUMNS,
        stress_facts=None if stress is None else stress_facts(stress),
        stress_rows=[] if stress is None else stress_rows(stress),
        stress_gaps=[] if stress is None else stress_gaps(stress),
        threshold_columns=THRESHOLD_COLUMNS,
        threshold_rows=[] if blend is None else threshold_rows(blend.thresholds),
        threshold_rule=None if manifest.threshold_choice is None else rule_in_words(manifest.threshold_choice),
        probability_columns=PROBABILITY_COLUMNS,
        probability_rows=[row for row in probability_rows(document) if row[0] == contender],
        reliability_columns=RELIABILITY_COLUMNS,
        reliability_rows=[] if error is None else reliability_rows(error),
        group_columns=GROUP_COLUMNS,
        scenarios=[group_row(one) for one in report.scenarios],
        groupings=[
            {"name": name, "rows": [group_row(one) for one in groups]}
            for name, groups in groupby(report.groups, key=lambda group: group.grouping)
        ],
        unequal=list(_unequal(report.groups)),
        overlap=judged.first_event_time_ms <= training.last_event_time_ms,
        **_warnings(report, judged.baseline),
    )


def _warnings(report: ScoreReport, baseline: str) -> dict[str, Any]:
    gain = report.average_precision_gain
    unproven = report.name != baseline and gain.low is not None and gain.low <= 0.0
    return {
        "small_groups": sum(group.is_small for group in report.groups),
        "groups_without_fraud": [group.name for group in report.groups if not group.frauds],
        "calibration_error": number(report.calibration.expected_calibration_error.value),
        "unproven_gain": number(gain.low) if unproven else None,
    }


def _unequal(groups: Sequence[Group]) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield for each grouping the highest and the lowest false-positive rate, if their intervals do not overlap."""
    for name, members in groupby(groups, key=lambda group: group.grouping):
        known = [one for one in members if not one.is_small and one.false_positive_rate.low is not None]
        if len(known) < 2:  # noqa: PLR2004 - a pair
            continue
        least = min(known, key=lambda one: one.false_positive_rate.value or 0.0)
        most = max(known, key=lambda one: one.false_positive_rate.value or 0.0)
        if (least.false_positive_rate.high or 0.0) < (most.false_positive_rate.low or 0.0):
            yield (
                name, most.name, number(most.false_positive_rate.value, 4),
                least.name, number(least.false_positive_rate.value, 4),
            )  # fmt: skip
