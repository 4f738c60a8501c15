"""Intervals by resampling customers, not rows.

The rows of one customer depend on each other (a stolen card makes many frauds), so a resample draws customers with
replacement and takes all rows of each: the cluster bootstrap (Davison and Hinkley, "Bootstrap Methods and their
Application", 1997, section 3.8). A resample is therefore a vector of weights, one small number per customer, and every
metric of this package takes a whole matrix of them. Row 0 of that matrix is the data as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Weights = NDArray[np.float64]
    """Resamples x customers; row 0 is all ones."""

CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and the percentile interval of its resamples; all None where it is not defined.

    A resample in which the number is not defined (no fraud was drawn) does not count.
    """

    value: float | None
    low: float | None
    high: float | None


def customer_weights(customers: int, resamples: int, seed: int) -> Weights:
    """Return how often each resample drew each customer; the same arguments give the same draws."""
    weights = np.ones((resamples + 1, customers))
    rng = np.random.default_rng(seed)
    for row in weights[1:]:
        row[:] = np.bincount(rng.integers(customers, size=customers), minlength=customers)
    return weights


def estimate(values: NDArray[np.float64]) -> Estimate:
    """Turn a metric's value per row of the weights into the number and its interval."""
    value = float(values[0])
    if np.isnan(value):
        return Estimate(None, None, None)
    drawn = values[1:][~np.isnan(values[1:])]
    if not len(drawn):
        return Estimate(value, None, None)
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    return Estimate(value, float(low), float(high))


def ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide, NaN where there is nothing to divide by."""
    return np.divide(numerator, denominator, out=np.full(np.shape(denominator), np.nan), where=denominator > 0.0)


def per_customer(
    customers: NDArray[np.int64], groups: NDArray[np.int64], values: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Sum `values` by customer and group; `weights @` the result is the sum in every resample.

    Args:
        customers: code of each row's customer, below `shape[0]`.
        groups: code of each row's group, below `shape[1]`.
        values: what to sum.
        shape: customers x groups.
    """
    flat = np.bincount(customers * shape[1] + groups, weights=values, minlength=shape[0] * shape[1])
    return flat.astype(np.float64).reshape(shape)
