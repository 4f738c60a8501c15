"""Judges every contender on the same rows and with the same resamples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from ml.evaluation.bootstrap import Estimate, customer_weights, estimate
from ml.evaluation.calibration import Calibration, calibrate
from ml.evaluation.card_precision import card_precision, days_of
from ml.evaluation.ranking import Curves, RankingValues, budget_threshold, curves, rank, ranking_values
from ml.evaluation.segments import Group, Grouping, grouping_of, judge_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ml.evaluation.bootstrap import Weights
    from ml.evaluation.judged_rows import JudgedRows

HISTOGRAM_BINS: Final = 40


@dataclass(frozen=True, slots=True)
class JudgingOptions:
    """Options of an evaluation.

    Attributes:
        alerts_per_day: transactions that a fraud desk can review in a day.
        cards_per_day: cards whose holders a fraud desk can call in a day; the k of card precision.
        resamples: number of resamples of customers for the intervals; 0 gives no intervals.
        seed: seed of the resamples.
    """

    alerts_per_day: int = 50
    cards_per_day: int = 10
    resamples: int = 1_000
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Histogram:
    """Rows by class in ``HISTOGRAM_BINS`` bins of equal width from 0 to 1."""

    genuine: tuple[int, ...]
    fraud: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """Measures of one contender.

    Attributes:
        name: name of the contender.
        roc_auc: area under the ROC curve.
        average_precision: area under the precision-recall curve as a step function.
        average_precision_gain: gain over the baseline on the same resamples; a gain whose interval is above 0 is
            real.
        card_precision: mean share of compromised cards among the ``cards_per_day`` cards with the highest score of
            each day; blocked cards are left out.
        recall_at_budget: share of all frauds among the highest scores that fill the budget.
        precision_at_budget: share of frauds among the highest scores that fill the budget.
        threshold: lowest score whose alerts stay within the budget; the groups are judged at this threshold.
        calibration: see ``Calibration``.
        histogram: rows by score and class.
        curves: points for the charts.
        scenarios: recall by fraud pattern at ``threshold``, where the data names patterns.
        groups: the segments at ``threshold``.
    """

    name: str
    roc_auc: Estimate
    average_precision: Estimate
    average_precision_gain: Estimate
    card_precision: Estimate
    recall_at_budget: Estimate
    precision_at_budget: Estimate
    threshold: float
    calibration: Calibration
    histogram: Histogram
    curves: Curves
    scenarios: tuple[Group, ...]
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Measures of all contenders.

    Attributes:
        rows: number of labelled rows.
        unlabelled: rows of the same period without a label.
        frauds: rows labelled fraud.
        customers: customers with a labelled row.
        days: UTC days with a labelled row.
        first_event_time_ms: event time of the first row, UTC milliseconds.
        last_event_time_ms: event time of the last row, UTC milliseconds.
        budget: number of alerts over all days.
        baseline: contender that gains are measured against.
        options: options of the evaluation.
        scores: one report per contender.
        rules: precision and recall of every rule alone, independent of the score.
    """

    rows: int
    unlabelled: int
    frauds: int
    customers: int
    days: int
    first_event_time_ms: int
    last_event_time_ms: int
    budget: int
    baseline: str
    options: JudgingOptions
    scores: tuple[ScoreReport, ...]
    rules: tuple[Group, ...]


def judge(
    rows: JudgedRows, options: JudgingOptions, progress: Callable[[str, int, int], None] = lambda *_: None
) -> Evaluation:
    """Judge all contenders.

    Args:
        rows: rows with at least one score; see ``JudgedRows``.
        options: see ``JudgingOptions``.
        progress: called with the contender, the number of finished resamples and their total number.

    Raises:
        UserError: all labels are fraud, or all are genuine.
    """
    rows.check()
    weights = customer_weights(rows.customer_count, options.resamples, options.seed)
    days = days_of(rows.event_time_ms)
    day_count = len(np.unique(days))
    budget = options.alerts_per_day * day_count
    rankings = {name: rank(scores, rows.fraud, rows.customers) for name, scores in rows.scores.items()}
    values = {
        name: ranking_values(ranking, weights, budget, partial(_report_progress, progress, name, len(weights)))
        for name, ranking in rankings.items()
    }
    reports = []
    for name, ranking in rankings.items():
        scores = rows.scores[name]
        cards = card_precision(scores, rows.fraud, rows.customers, days, weights, options.cards_per_day)
        measured = (values[name], values[rows.baseline], cards)
        reports.append(_report(rows, name, measured, budget_threshold(ranking, budget), weights, curves(ranking)))
    return Evaluation(
        rows=len(rows.fraud),
        unlabelled=rows.unlabelled,
        frauds=int(rows.fraud.sum()),
        customers=rows.customer_count,
        days=day_count,
        first_event_time_ms=int(rows.event_time_ms.min()),
        last_event_time_ms=int(rows.event_time_ms.max()),
        budget=budget,
        baseline=rows.baseline,
        options=options,
        scores=tuple(reports),
        rules=_judge_rules(rows, weights),
    )


def probability_error(rows: JudgedRows, probability: NDArray[np.float64], options: JudgingOptions) -> Calibration:
    """Return the error of a probability of fraud with the intervals of ``judge``; rows with NaN do not count."""
    weights = customer_weights(rows.customer_count, options.resamples, options.seed)
    known = ~np.isnan(probability)
    return calibrate(probability[known], rows.fraud[known], rows.customers[known], weights)


def _report_progress(progress: Callable[[str, int, int], None], name: str, total: int, done: int) -> None:
    progress(name, done, total)


def _report(
    rows: JudgedRows,
    name: str,
    measured: tuple[RankingValues, RankingValues, NDArray[np.float64]],
    threshold: float,
    weights: Weights,
    points: Curves,
) -> ScoreReport:
    values, reference, cards = measured
    scores = rows.scores[name]
    alerted = scores >= threshold
    return ScoreReport(
        name=name,
        roc_auc=estimate(values.roc_auc),
        average_precision=estimate(values.average_precision),
        average_precision_gain=estimate(values.average_precision - reference.average_precision),
        card_precision=estimate(cards),
        recall_at_budget=estimate(values.recall_at_budget),
        precision_at_budget=estimate(values.precision_at_budget),
        threshold=threshold,
        calibration=calibrate(scores, rows.fraud, rows.customers, weights),
        histogram=_histogram(scores, rows.fraud),
        curves=points,
        scenarios=_judge_scenarios(rows, alerted, weights),
        groups=tuple(
            group
            for grouping in rows.groupings
            for group in judge_groups(grouping, alerted, rows.fraud, rows.customers, weights)
        ),
    )


def _judge_scenarios(rows: JudgedRows, alerted: NDArray[np.bool_], weights: Weights) -> tuple[Group, ...]:
    """Measure recall by fraud pattern, on the frauds only; genuine rows have no pattern."""
    fraud = rows.fraud
    if not np.any(rows.scenarios[fraud] != ""):
        return ()
    named = np.where(rows.scenarios[fraud] == "", "(not named)", rows.scenarios[fraud])
    grouping = grouping_of("scenario", named)
    return judge_groups(grouping, alerted[fraud], fraud[fraud], rows.customers[fraud], weights)


def _judge_rules(rows: JudgedRows, weights: Weights) -> tuple[Group, ...]:
    """Measure each rule as if it were the only source of alerts."""
    everyone = np.zeros(len(rows.fraud), dtype=np.int64)
    return tuple(
        group
        for rule_id, fired in rows.rule_hits.items()
        for group in judge_groups(Grouping("rule", (rule_id,), everyone), fired, rows.fraud, rows.customers, weights)
    )


def _histogram(scores: NDArray[np.float64], fraud: NDArray[np.bool_]) -> Histogram:
    genuine, frauds = (np.histogram(scores[mask], bins=HISTOGRAM_BINS, range=(0.0, 1.0))[0] for mask in (~fraud, fraud))
    return Histogram(tuple(map(int, genuine)), tuple(map(int, frauds)))
