"""What the scenarios did to a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.metrics import average_precision_score

from ml.dataset import FRAUD, UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class StressResult:
    """The judged rows under one scenario, with the blend and the threshold in force; estimates for all judged rows.

    Attributes:
        name: name of the scenario.
        alerts_per_day: alerts a day, without those of purchases that the scenario added.
        precision: share of frauds among the labelled alerts; None without one.
        recall: share of the labelled frauds that are alerts; None without one.
        average_precision: average precision of the blended score; None without frauds and genuine rows.
        score_change: mean change of the blended score.
        not_computed: why there are no numbers; None where there are.
    """

    name: str
    alerts_per_day: float | None = None
    precision: float | None = None
    recall: float | None = None
    average_precision: float | None = None
    score_change: float | None = None
    not_computed: str | None = None


@dataclass(frozen=True, slots=True)
class StressTest:
    """All scenarios of one model.

    Attributes:
        rows: judged rows of the sample.
        customers: customers of the sample.
        seed: seed of the sample and of the scenarios.
        results: one per scenario; the first is that without a change.
    """

    rows: int
    customers: int
    seed: int
    results: tuple[StressResult, ...]


class JudgedSample(NamedTuple):
    """The judged rows of the sample."""

    labels: NDArray[np.int8]
    weights: NDArray[np.float64]
    """Number of judged rows for which each stands."""
    days: int
    """Days with a judged row."""


def measure(
    name: str, sample: JudgedSample, blend: NDArray[np.float64], threshold: float, usual: NDArray[np.float64]
) -> StressResult:
    """Return the result of a scenario.

    Args:
        name: name of the scenario.
        sample: the rows.
        blend: their blended scores.
        threshold: the alert threshold.
        usual: their blended scores without a change.
    """
    weights, alert = sample.weights, blend >= threshold
    known, fraud = sample.labels != UNKNOWN, sample.labels == FRAUD
    right, judged, frauds = (float(weights[mask].sum()) for mask in (alert & fraud, alert & known, fraud))
    has_both = fraud.any() and (known & ~fraud).any()
    return StressResult(
        name,
        float(weights[alert].sum()) / sample.days,
        right / judged if judged else None,
        right / frauds if frauds else None,
        float(average_precision_score(fraud[known], blend[known], sample_weight=weights[known])) if has_both else None,
        float(np.average(blend - usual, weights=weights)),
    )
