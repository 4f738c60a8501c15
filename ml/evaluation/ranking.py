"""Measures of a ranking: ROC AUC, average precision, recall and precision at a budget, and the curves.

All measures use one sort of the rows and work on a matrix of customer weights at once. Rows of equal score form one
group, so no metric depends on their order. Tests in ``tests/unit/ml`` compare both areas with scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ml.evaluation.bootstrap import blocks, ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ml.evaluation.bootstrap import Weights

CURVE_POINTS: Final = 400


@dataclass(frozen=True, slots=True)
class Ranking:
    """Labelled rows by descending score.

    Attributes:
        customers: code of each row's customer.
        fraud: 1.0 for fraud, 0.0 for genuine.
        starts: index of the first row of each group of equal scores.
        scores: score of each group, descending.
    """

    customers: NDArray[np.int64]
    fraud: NDArray[np.float64]
    starts: NDArray[np.int64]
    scores: NDArray[np.float64]


class RankingValues(NamedTuple):
    """One value per row of the weights, NaN where a resample has no fraud or no genuine row."""

    roc_auc: NDArray[np.float64]
    average_precision: NDArray[np.float64]
    recall_at_budget: NDArray[np.float64]
    precision_at_budget: NDArray[np.float64]


class Curves(NamedTuple):
    """Points of the ROC and precision-recall curves, by descending score."""

    false_positive_rate: NDArray[np.float64]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    thresholds: NDArray[np.float64]


def rank(scores: NDArray[np.float64], fraud: NDArray[np.bool_], customers: NDArray[np.int64]) -> Ranking:
    """Return the rows by descending score; at least one row."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
    return Ranking(customers[order], fraud[order].astype(np.float64), starts, ranked[starts])


def ranking_values(
    ranking: Ranking, weights: Weights, budget: float, progress: Callable[[int], None] = lambda _done: None
) -> RankingValues:
    """Return the measures of a ranking for every row of the weights.

    Args:
        ranking: rows with at least one fraud.
        weights: resamples x customers; whole numbers.
        budget: number of alerts on these rows, above 0. The alerts are the rows with the highest scores. A group of
            equal scores that fits only in part counts with its expected share of frauds.
        progress: called with the number of finished rows of the weights.
    """
    parts, done = [], 0
    for block in blocks(weights, len(ranking.customers)):
        parts.append(_values(ranking, block, budget))
        done += len(block)
        progress(done)
    return RankingValues(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _values(ranking: Ranking, weights: Weights, budget: float) -> tuple[NDArray[np.float64], ...]:
    """Return the measures, computed on the groups with a fraud: most groups have none and add nothing to the sums."""
    groups = _groups_with_fraud(ranking)
    total = np.cumsum(weights[:, ranking.customers], axis=1, dtype=np.float64)
    all_rows = total[:, -1]
    until = total[:, groups.ends]
    before = np.where(groups.starts > 0, total[:, groups.starts - 1], 0.0)
    gained = np.add.reduceat(weights[:, groups.customers].astype(np.float64), groups.first, axis=1)
    true = np.cumsum(gained, axis=1)
    frauds, genuine = true[:, -1], all_rows - true[:, -1]
    # Genuine rows above a fraud, where rows of equal score count half, are the area missing under the ROC curve.
    above = (before - (true - gained)) + (until - before - gained) / 2.0
    missing = np.sum(gained * above, axis=1)
    average = np.sum(gained * true / np.maximum(until, 1.0), axis=1)
    # The share of each group that fits into the rest of the budget.
    fitting = np.clip((budget - before) / np.maximum(until - before, 1.0), 0.0, 1.0)
    found = np.sum(gained * fitting, axis=1)
    both = (frauds > 0.0) & (genuine > 0.0)
    return (
        np.where(both, 1.0 - ratio(missing, frauds * genuine), np.nan),
        np.where(both, ratio(average, frauds), np.nan),
        ratio(found, frauds),
        ratio(found, np.minimum(budget, all_rows)),
    )


class _FraudGroups(NamedTuple):
    """Groups of equal scores with at least one fraud, by descending score."""

    starts: NDArray[np.int64]
    """First row of each group."""
    ends: NDArray[np.int64]
    """Last row of each group."""
    customers: NDArray[np.int64]
    """Customer of every fraud, by descending score."""
    first: NDArray[np.int64]
    """Index in ``customers`` of each group's first fraud."""


def _groups_with_fraud(ranking: Ranking) -> _FraudGroups:
    frauds = np.flatnonzero(ranking.fraud)
    groups, first = np.unique(np.searchsorted(ranking.starts, frauds, side="right") - 1, return_index=True)
    ends = np.append(ranking.starts[1:], len(ranking.customers)) - 1
    return _FraudGroups(ranking.starts[groups], ends[groups], ranking.customers[frauds], first)


def budget_threshold(ranking: Ranking, budget: float) -> float:
    """Return the lowest score with at most ``budget`` rows at or above it; the highest score if even it has more."""
    ends = np.append(ranking.starts[1:], len(ranking.customers))
    fitting = int(np.searchsorted(ends, budget, side="right"))
    return float(ranking.scores[max(0, fitting - 1)])


def curves(ranking: Ranking) -> Curves:
    """Return about 400 points of each curve; the rows must hold frauds and genuine transactions."""
    ends = np.append(ranking.starts[1:], len(ranking.customers)) - 1
    true, total = np.cumsum(ranking.fraud)[ends], ends + 1.0
    false = total - true
    recall, fall_out = true / true[-1], false / false[-1]
    # Points are spaced evenly along the length of the ROC curve, so that its steep start keeps its points.
    length = recall + fall_out
    chosen = np.unique(np.searchsorted(length, np.linspace(length[0], length[-1], CURVE_POINTS)))
    return Curves(fall_out[chosen], recall[chosen], (true / total)[chosen], ranking.scores[chosen])
