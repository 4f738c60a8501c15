"""Distances between two distributions over the same bins.

PSI is the population stability index (Siddiqi, "Credit Risk Scorecards", 2006): the sum over bins of
``(a - e) ln(a / e)``. Its usual reading, below 0.1 stable and above 0.25 changed, is a convention and not a test: with
few rows chance alone gives about ``(bins - 1)(1/n + 1/m)`` (Yurdakul and Naranjo, "Statistical properties of the
population stability index", 2020). KS is the largest distance between the two cumulative distributions. It is computed
at the edges of the reference's bins only, so it is never larger than the true distance.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flink_jobs.core.models.reference import Bins

SMALLEST_SHARE: Final = 1e-4
"""Share of an empty bin: with a share of zero, one stray value would give an infinite PSI."""


def population_stability_index(expected: Bins, actual: Bins) -> float:
    """Return the PSI of two distributions over the same bins; absent values are one more bin.

    >>> from flink_jobs.core.models.reference import Bins
    >>> even, skewed = Bins((1.0,), (0.5, 0.5), 0.0), Bins((1.0,), (0.75, 0.25), 0.0)
    >>> round(population_stability_index(even, skewed), 4)
    0.2747
    """
    before, now = _with_absent(expected), _with_absent(actual)
    used = (before > 0.0) | (now > 0.0)
    before, now = np.maximum(before[used], SMALLEST_SHARE), np.maximum(now[used], SMALLEST_SHARE)
    return float(np.sum((now - before) * np.log(now / before)))


def kolmogorov_smirnov(expected: Bins, actual: Bins) -> float:
    """Return the largest distance between the cumulative shares at the edges, 0 to 1; absent values are left out."""
    if not expected.edges or not any(expected.shares) or not any(actual.shares):
        return 0.0
    distance = np.abs(np.cumsum(expected.shares) - np.cumsum(actual.shares))[:-1]
    return float(distance.max())


def kolmogorov_p_value(distance: float, rows: int, reference_rows: int) -> float:
    """Return the asymptotic p-value of a two-sample distance (conservative for values with ties).

    Uses Stephens' small-sample correction: ``lambda = (sqrt(n) + 0.12 + 0.11 / sqrt(n)) D``.
    """
    if not rows or not reference_rows:
        return 1.0
    root = math.sqrt(rows * reference_rows / (rows + reference_rows))
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.2:  # noqa: PLR2004 - the series below converges too slowly there, and the answer is 1
        return 1.0
    terms = (2.0 * (-1) ** (k - 1) * math.exp(-2.0 * (k * scaled) ** 2) for k in range(1, 101))
    return min(1.0, max(0.0, math.fsum(terms)))


def chance_psi(expected: Bins, rows: int, reference_rows: int) -> float:
    """Return the average PSI of two samples from the same distribution."""
    bins = int(np.count_nonzero(_with_absent(expected)))
    return max(0, bins - 1) * (1.0 / max(1, rows) + 1.0 / max(1, reference_rows))


def _with_absent(bins: Bins) -> NDArray[np.float64]:
    present = 1.0 - bins.absent
    return np.array([*(share * present for share in bins.shares), bins.absent])
