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
"""Rows x resamples at a time: so many stay in a core's cache."""
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
        ranking: at least one fraud.
        weights: resamples x customers; whole numbers.
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
    """Measure at the groups that hold a fraud: the others add nothing to a sum over frauds, and are most of them."""
    groups = _groups_with_fraud(ranking)
    total = np.cumsum(weights[:, ranking.customers], axis=1)
    all_rows = total[:, -1]
    until = total[:, groups.ends]
    before = np.where(groups.starts > 0, total[:, groups.starts - 1], 0.0)
    gained = np.add.reduceat(weights[:, groups.customers], groups.first, axis=1)
    true = np.cumsum(gained, axis=1)
    frauds, genuine = true[:, -1], all_rows - true[:, -1]
    # Genuine rows above a fraud, those of equal score for a half: what is missing of the area under the ROC curve.
    above = (before - (true - gained)) + (until - before - gained) / 2.0
    missing = np.sum(gained * above, axis=1)
    average = np.sum(gained * true / np.maximum(until, 1.0), axis=1)
    # The share of each group that still fits into the budget.
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
    """Groups of equal scores that hold a fraud, by falling score."""

    starts: NDArray[np.int64]
    """First row of each."""
    ends: NDArray[np.int64]
    """Last row of each."""
    customers: NDArray[np.int64]
    """Customer of every fraud, by falling score."""
    first: NDArray[np.int64]
    """Place in `customers` of each group's first fraud."""


def _groups_with_fraud(ranking: Ranking) -> _FraudGroups:
    frauds = np.flatnonzero(ranking.fraud)
    groups, first = np.unique(np.searchsorted(ranking.starts, frauds, side="right") - 1, return_index=True)
    ends = np.append(ranking.starts[1:], len(ranking.customers)) - 1
    return _FraudGroups(ranking.starts[groups], ends[groups], ranking.customers[frauds], first)


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
