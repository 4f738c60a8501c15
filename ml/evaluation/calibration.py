"""Calibration: are eight in ten transactions with a score of 0.8 fraud?

Brier score: the mean squared distance between score and label (Brier, 1950). Expected calibration error: the mean
distance between score and fraud rate over ten bins of equal width, weighted by their rows (Guo et al., "On Calibration
of Modern Neural Networks", ICML 2017). Only a score trained on labels can be calibrated; rules and forests only rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ml.evaluation.bootstrap import Estimate, estimate, per_customer, ratio, sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ml.evaluation.bootstrap import Weights

BINS: Final = 10


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Rows with ``low <= score < high``; the last bin includes a score of 1."""

    low: float
    high: float
    rows: int
    mean_score: float | None
    fraud_rate: Estimate


@dataclass(frozen=True, slots=True)
class Calibration:
    """Quality of a score as a probability."""

    brier: Estimate
    expected_calibration_error: Estimate
    reliability: tuple[ReliabilityBin, ...]


def calibrate(
    scores: NDArray[np.float64], fraud: NDArray[np.bool_], customers: NDArray[np.int64], weights: Weights
) -> Calibration:
    """Measure the calibration of scores in 0 to 1 under every row of the weights."""
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    shape = (weights.shape[1], BINS)
    rows, scored, frauds, squares = (
        sums(weights, per_customer(customers, bins, values, shape))
        for values in (np.ones(len(scores)), scores, fraud.astype(np.float64), (scores - fraud) ** 2)
    )
    total = rows.sum(axis=1)
    rates = ratio(frauds, rows)
    return Calibration(
        brier=estimate(ratio(squares.sum(axis=1), total)),
        expected_calibration_error=estimate(ratio(np.abs(frauds - scored).sum(axis=1), total)),
        reliability=tuple(
            ReliabilityBin(
                low=number / BINS,
                high=(number + 1) / BINS,
                rows=int(rows[0, number]),
                mean_score=float(scored[0, number] / rows[0, number]) if rows[0, number] else None,
                fraud_rate=estimate(rates[:, number]),
            )
            for number in range(BINS)
        ),
    )
