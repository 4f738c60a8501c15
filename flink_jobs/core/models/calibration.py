"""The calibration curve: maps a raw anomaly score to a score from 0 to 1 that says how rare the raw score is.

The raw scores of an isolation forest lie between about 0.35 and 0.7; the exact range depends on the data. The curve
maps them to decades of rarity among the training rows. If one training row in ten scores higher, the calibrated score
is 0.25; one in a hundred: 0.5; one in a thousand: 0.75. The curve needs no labels and is part of the artifact. It is
monotonic, so it keeps the order of the rows, and linear between its points, so evaluation costs one bisection.
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
    """Refuse points that do not form a rising curve from [0, 1] to [0, 1].

    Raises:
        ModelError: ``BAD_ARRAYS``.
    """
    raw, score = (np.asarray(arrays[name], dtype=np.float64) for name in CURVE_ARRAYS)
    if len(raw) != len(score) or not MIN_POINTS <= len(raw) <= MAX_POINTS:
        detail = f"the calibration curve needs {MIN_POINTS} to {MAX_POINTS} points, and two arrays of equal length"
        raise ModelError(ModelFault.BAD_ARRAYS, detail)
    rises = (np.diff(raw) > 0.0).all() and (np.diff(score) >= 0.0).all()
    if not (rises and ((raw >= 0.0) & (raw <= 1.0) & (score >= 0.0) & (score <= 1.0)).all()):
        raise ModelError(ModelFault.BAD_ARRAYS, "the calibration curve does not rise, or leaves the range 0 to 1")


def compile_curve(arrays: Arrays) -> Callable[[float], float]:
    """Build the curve as a function; it is constant left and right of its points."""
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
        The arrays of the curve. Its points are at the shares 1, 0.9 ... 0.1, 0.05, 0.02, 0.01 and so on of rows that
        score higher, down to a share of ten rows. Beyond the last point, the curve continues with its last slope to 1.
    """
    shares = [share / 10 for share in range(9, 0, -1)]
    decade = 0.1
    while decade / 2 * len(scores) >= 10:  # noqa: PLR2004 - a share of fewer rows is unreliable
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
"""Decades of rarity in the range 0 to 1: one training row in ten thousand scores 1 or more."""
