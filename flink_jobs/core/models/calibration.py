"""From a raw anomaly score to one that uses the whole of 0 to 1 and means something: how rare is such a score?

An isolation forest's raw scores crowd between 0.35 and 0.7, and where depends on the data. The curve maps them to
decades of rarity among the training rows: a row that is beaten by one in ten scores 0.25, by one in a hundred 0.5, by
one in a thousand 0.75. No label is needed. The curve is part of the artifact: monotonic, so that ranks do not change,
and straight between its points, so that it costs a bisection.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

import numpy as np

from flink_jobs.core.models.faults import ModelError, ModelFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from flink_jobs.core.models.trees.arrays import Arrays

CURVE_RAW: Final = "calibration_raw"
CURVE_SCORE: Final = "calibration_score"
CURVE_ARRAYS: Final = (CURVE_RAW, CURVE_SCORE)
MAX_POINTS: Final = 1_000
MIN_POINTS: Final = 2


def check_curve(arrays: Arrays) -> None:
    """Refuse points that are no rising curve from within [0, 1] to within [0, 1].

    Raises:
        ModelError: `BAD_ARRAYS`.
    """
    raw, score = (np.asarray(arrays[name], dtype=np.float64) for name in CURVE_ARRAYS)
    if len(raw) != len(score) or not MIN_POINTS <= len(raw) <= MAX_POINTS:
        detail = f"a calibration curve has {MIN_POINTS} to {MAX_POINTS} points with two numbers each"
        raise ModelError(ModelFault.BAD_ARRAYS, detail)
    rises = (np.diff(raw) > 0.0).all() and (np.diff(score) >= 0.0).all()
    if not (rises and ((raw >= 0.0) & (raw <= 1.0) & (score >= 0.0) & (score <= 1.0)).all()):
        raise ModelError(ModelFault.BAD_ARRAYS, "the calibration curve does not rise from 0..1 to 0..1")


def compile_curve(arrays: Arrays) -> Callable[[float], float]:
    """Build the curve; left and right of its points it is flat."""
    check_curve(arrays)
    raw: list[float] = np.asarray(arrays[CURVE_RAW], dtype=np.float64).tolist()
    score: list[float] = np.asarray(arrays[CURVE_SCORE], dtype=np.float64).tolist()
    slopes = (np.diff(score) / np.diff(raw)).tolist()
    first, last, low, high = raw[0], raw[-1], score[0], score[-1]

    def curve(value: float) -> float:
        if value <= first:
            return low
        if value >= last:
            return high
        place = bisect_right(raw, value) - 1
        return min(high, score[place] + (value - raw[place]) * slopes[place])  # type: ignore[no-any-return]

    return curve


def rarity_curve(scores: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Fit the curve to the raw scores of training rows.

    Args:
        scores: at least one, within (0, 1].

    Returns:
        The arrays of the curve. Points lie at shares 1, 0.9 ... 0.1, 0.05, 0.02, 0.01 and so on of rows that score
        higher, down to a share of ten rows; beyond it, where too few rows were seen, the last slope goes on to 1.
    """
    shares = [share / 10 for share in range(9, 0, -1)]
    decade = 0.1
    while decade / 2 * len(scores) >= 10:  # noqa: PLR2004 - fewer rows say little
        shares += [decade / 2, decade / 5, decade / 10]
        decade /= 10
    raw = np.quantile(scores, [1.0 - share for share in shares])
    score = -np.log10(shares) / DECADES
    raw, keep = np.unique(raw, return_index=True)
    score = score[keep]
    raw, score = np.concatenate([[0.0], raw]), np.concatenate([[0.0], score])
    slope = (score[-1] - score[-2]) / (raw[-1] - raw[-2]) if raw[-1] > raw[-2] else 1.0
    end = min(1.0, raw[-1] + max((1.0 - score[-1]) / slope, 1e-9)) if slope > 0.0 else 1.0
    if end > raw[-1]:
        raw, score = np.append(raw, end), np.append(score, 1.0)
    return {CURVE_RAW: raw, CURVE_SCORE: np.minimum(score, 1.0)}


DECADES: Final = 4.0
"""Decades of rarity that the range 0 to 1 covers: a score of 1 is as rare as one in ten thousand."""
