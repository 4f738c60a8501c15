"""Decides whether a series of samples is flat; pure functions.

The trend is the Theil-Sen slope: the median of the slopes between all pairs of samples. Single outliers have no effect
on it (Sen 1968, "Estimates of the regression coefficient based on Kendall's tau"). The Mann-Kendall test on the same
pairs tells a trend from chance (Kendall 1975, "Rank correlation methods").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = np.ndarray[Any, np.dtype[np.float64]]

SIGNIFICANCE_Z = 3.0
"""One flat series in 700 reaches this value by chance."""
LEAST_SAMPLES = 8


@dataclass(frozen=True, slots=True)
class Trend:
    """The trend of a series.

    Attributes:
        median: median of the samples.
        drift: change over the whole series by the slope, as a share of the median; 0.1 means 10 % more at the end.
        z: Mann-Kendall statistic; beyond +-3 the direction is very unlikely to be chance.
    """

    median: float
    drift: float
    z: float

    def is_flat(self, tolerance: float, *, only_growth: bool) -> bool:
        """Return whether the drift is within the tolerance or may be chance.

        Args:
            tolerance: largest drift, as a share of the median.
            only_growth: True if a falling series (memory, latency) is harmless.
        """
        if only_growth and self.drift <= 0:
            return True
        return abs(self.drift) <= tolerance or abs(self.z) < SIGNIFICANCE_Z


def trend(times_s: Sequence[float], values: Sequence[float]) -> Trend:
    """Return the trend of samples taken at ascending times.

    Raises:
        ValueError: there are fewer than eight samples, or the times do not ascend.
    """
    if len(values) < LEAST_SAMPLES or len(values) != len(times_s):
        raise ValueError(f"{len(values)} samples at {len(times_s)} times: at least {LEAST_SAMPLES} are needed")
    t, y = np.asarray(times_s, dtype=float), np.asarray(values, dtype=float)
    if (np.diff(t) <= 0).any():
        raise ValueError("the times do not ascend")
    early, late = np.triu_indices(len(y), k=1)
    rises = y[late] - y[early]
    slope = float(np.median(rises / (t[late] - t[early])))
    middle = float(np.median(y))
    change = slope * float(t[-1] - t[0])
    drift = change / middle if middle else math.copysign(math.inf, change) if change else 0.0
    return Trend(middle, drift, _mann_kendall(rises, y))


def _mann_kendall(rises: Array, y: Array) -> float:
    """Return the statistic with the corrections for ties and continuity."""
    n = len(y)
    score = float(np.sign(rises).sum())
    _, ties = np.unique(y, return_counts=True)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    if variance <= 0 or score == 0:
        return 0.0
    return (score - math.copysign(1.0, score)) / math.sqrt(variance)
