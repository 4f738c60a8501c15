"""What the order of the scores is worth: ROC AUC, average precision, recall at a budget; and the curves.

All on one sort of the rows, for a whole matrix of customer weights at once. Rows of equal score are one group: no
metric depends on the order in which they happen to lie. tests/unit/ml holds both areas to scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ml.evaluation.bootstrap import ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ml.evaluation.bootstrap import Weights

CELLS_AT_ONCE: Final = 250_000
"""Rows x resamples at a time: the half dozen arrays of so many stay in a core's cache, which halves the time."""
CURVE_POINTS: Final = 400


@dataclass(frozen=True, slots=True)
class Ranking:
    """Labelled rows by falling score.

    Attributes:
        customers: code of each row's customer.
        fraud: 1.0 for fraud, 0.0 for genuine.
        starts: first row of each group of equal scores.
        scores: of each group, falling.
    """

    customers: NDArray[np.int64]
    fraud: NDArray[np.float64]
    starts: NDArray[np.int64]
    scores: NDArray[np.float64]


class RankingValues(NamedTuple):
    """One value per row of the weights, NaN where a resample has no fraud or nothing but fraud."""

    roc_auc: NDArray[np.float64]
    average_precision: NDArray[np.float64]
    recall_at_budget: NDArray[np.float64]
    precision_at_budget: NDArray[np.float64]


class Curves(NamedTuple):
    """Points of the ROC and precision-recall curves, from the highest score down."""

    false_positive_rate: NDArray[np.float64]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    thresholds: NDArray[np.float64]


def rank(scores: NDArray[np.float64], fraud: NDArray[np.bool_], customers: NDArray[np.int64]) -> Ranking:
    """Sort rows by falling score; at least one row."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
    return Ranking(customers[order], fraud[order].astype(np.float64), starts, ranked[starts])


def ranking_values(
    ranking: Ranking, weights: Weights, budget: float, progress: Callable[[int], None] = lambda _done: None
) -> RankingValues:
    """Measure a ranking under every row of the weights.

    Args:
        ranking: at least one row.
        weights: resamples x customers.
        budget: alerts that may be raised on these rows, above 0; the alerts are the highest scores, and of a group of
            equal scores that does not fit whole, the expected part.
        progress: told how many rows of the weights are done.
    """
    at_once = max(1, CELLS_AT_ONCE // len(ranking.customers))
    parts = []
    for first in range(0, len(weights), at_once):
        part = weights[first : first + at_once]
        parts.append(_values(ranking, part, budget))
        progress(first + len(part))
    return RankingValues(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _values(ranking: Ranking, weights: Weights, budget: float) -> tuple[NDArray[np.float64], ...]:
    true, total = _cumulative(ranking, weights)
    false = total - true
    frauds, genuine = true[:, -1], false[:, -1]
    before_true, before_total = _before(true), _before(total)
    gained = true - before_true
    # Each group is one straight piece of the ROC curve: trapezoids are exact, ties count half.
    area = np.sum((false - _before(false)) * (true + before_true), axis=1) / 2.0
    precision = ratio(true, total)
    average = np.sum(gained * np.nan_to_num(precision), axis=1)
    # The share of each group that still fits into the budget.
    found = np.sum(
        gained * np.clip(ratio(budget - before_total, total - before_total), 0.0, 1.0), axis=1, where=gained > 0
    )
    return (
        ratio(area, frauds * genuine),
        np.where(genuine > 0.0, ratio(average, frauds), np.nan),
        ratio(found, frauds),
        ratio(found, np.minimum(budget, total[:, -1])),
    )


def _cumulative(ranking: Ranking, weights: Weights) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weight of frauds and of all rows down to the end of each group, resamples x groups."""
    rows = weights[:, ranking.customers]
    frauds = rows * ranking.fraud
    if len(ranking.starts) < len(ranking.customers):
        rows = np.add.reduceat(rows, ranking.starts, axis=1)
        frauds = np.add.reduceat(frauds, ranking.starts, axis=1)
    return np.cumsum(frauds, axis=1), np.cumsum(rows, axis=1)


def _before(cumulative: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate((np.zeros((len(cumulative), 1)), cumulative[:, :-1]), axis=1)


def budget_threshold(ranking: Ranking, budget: float) -> float:
    """Return the lowest score from which on at most `budget` rows lie; the highest where even that has more."""
    ends = np.append(ranking.starts[1:], len(ranking.customers))
    fitting = int(np.searchsorted(ends, budget, side="right"))
    return float(ranking.scores[max(0, fitting - 1)])


def curves(ranking: Ranking) -> Curves:
    """Return the curves, thinned to what a plot can show; both kinds of label must be there."""
    ends = np.append(ranking.starts[1:], len(ranking.customers)) - 1
    true, total = np.cumsum(ranking.fraud)[ends], ends + 1.0
    false = total - true
    recall, fall_out = true / true[-1], false / false[-1]
    # Evenly along the ROC curve's own length, so that its steep start keeps its points.
    length = recall + fall_out
    chosen = np.unique(np.searchsorted(length, np.linspace(length[0], length[-1], CURVE_POINTS)))
    return Curves(fall_out[chosen], recall[chosen], (true / total)[chosen], ranking.scores[chosen])
