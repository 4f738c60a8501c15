"""Intervals by resampling customers, not rows.

The rows of one customer depend on each other (a stolen card makes many frauds), so a resample draws customers with
replacement and takes all rows of each: the cluster bootstrap (Davison and Hinkley, "Bootstrap Methods and their
Application", 1997, section 3.8). A resample is therefore a vector of weights, one small number per customer. Every
metric of this package takes a matrix of weights, one row per resample. Row 0 of the matrix is all ones: the data
itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Weights = NDArray[np.uint8] | NDArray[np.float64]
    """Resamples x customers, whole numbers; row 0 is all ones. One byte per number saves memory with many customers."""

CONFIDENCE: Final = 0.95
CELLS_AT_ONCE: Final = 250_000
"""Numbers per block of resamples; a block of this size fits into a core's cache."""
_MOST: Final = 255
"""Largest number of draws of one customer; the mean is 1, so a larger number does not occur in practice."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and the percentile interval of its resamples; all None where the number is undefined.

    Resamples where the number is undefined (no fraud was drawn) are left out.
    """

    value: float | None
    low: float | None
    high: float | None


def customer_weights(customers: int, resamples: int, seed: int) -> Weights:
    """Return the number of draws of each customer in each resample; the same arguments give the same draws."""
    weights = np.ones((resamples + 1, customers), dtype=np.uint8)
    rng = np.random.default_rng(seed)
    for row in weights[1:]:
        row[:] = np.minimum(np.bincount(rng.integers(customers, size=customers), minlength=customers), _MOST)
    return weights


def blocks(weights: Weights, width: int) -> Iterator[Weights]:
    """Yield the resamples in blocks; the caller works on ``width`` numbers per resample."""
    at_once = max(1, CELLS_AT_ONCE // max(1, width))
    for first in range(0, len(weights), at_once):
        yield weights[first : first + at_once]


def sums(weights: Weights, cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of each group in every resample, resamples x groups.

    Args:
        weights: see ``customer_weights``.
        cells: see ``per_customer``.
    """
    return np.concatenate([block.astype(np.float64) @ cells for block in blocks(weights, weights.shape[1])])


def estimate(values: NDArray[np.float64]) -> Estimate:
    """Return the number and its interval from a metric's value for each row of the weights."""
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
    """Return the quotient, NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(np.shape(denominator), np.nan), where=denominator > 0.0)


def per_customer(
    customers: NDArray[np.int64], groups: NDArray[np.int64], values: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Return the sum of ``values`` by customer and group, for ``sums``.

    Args:
        customers: code of each row's customer, below ``shape[0]``.
        groups: code of each row's group, below ``shape[1]``.
        values: one number per row.
        shape: customers x groups.
    """
    flat = np.bincount(customers * shape[1] + groups, weights=values, minlength=shape[0] * shape[1])
    return flat.astype(np.float64).reshape(shape)
