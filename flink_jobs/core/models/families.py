"""Compiles a model of either family into a score function, a base score and a function of contributions.

``score(row)`` is fast and runs for every transaction. ``contributions(row, score)`` walks the trees in Python and runs
only for alerts and explanations.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from flink_jobs.core.models.calibration import CURVE_RAW, compile_curve
from flink_jobs.core.models.trees import boosting_scorer, forest_scorer
from flink_jobs.core.models.trees.arrays import BoostingArrays, ForestArrays, TreeArrays
from flink_jobs.core.models.trees.linked_trees import boosting_trees, forest_trees
from flink_jobs.core.models.trees.path_attribution import compile_attribution

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.core.models.trees.arrays import Arrays
    from flink_jobs.core.models.trees.path_attribution import Attribution
    from flink_jobs.core.models.trees.walk import Row, RowScore

    Curve = Callable[[float], float]

_TINY: Final = 1e-13
"""Below this difference, rounding makes the chord of the curve useless, and the tangent is used instead."""
_STEP: Final = 1e-6


class Compiled(NamedTuple):
    """A compiled model.

    Attributes:
        score: function from a row to its score, 0 to 1. It is pure and thread-safe. It raises ``ValueError`` for a row
            of another length or a row that holds NaN.
        base: score at the mean of the training rows, where the contributions start.
        contributions: function from a row and its score to one number per input; ``base`` plus these numbers is the
            score.
    """

    score: RowScore
    base: float
    contributions: Callable[[Row, float], list[float]]


def compile_model(arrays: TreeArrays, extras: Arrays, feature_count: int) -> Compiled:
    """Compile a model of either family.

    Args:
        arrays: trees that passed ``check_trees``.
        extras: the optional arrays of the artifact; this function uses the calibration curve.
        feature_count: length of every row.

    Raises:
        ModelError: a tree is too deep, or the calibration curve is invalid.
    """
    curve = compile_curve(extras) if CURVE_RAW in extras else None
    if isinstance(arrays, ForestArrays):
        raw = forest_scorer.compile_score(arrays, feature_count)
        trees, score_of_sum = forest_trees(arrays), forest_scorer.score_of_sum(arrays)
    elif isinstance(arrays, BoostingArrays):
        raw = boosting_scorer.compile_score(arrays, feature_count)
        trees, score_of_sum = boosting_trees(arrays), boosting_scorer.score_of_sum(arrays)
    else:
        raise TypeError(f"no scorer for {type(arrays).__name__}")
    score = raw if curve is None else _then(raw, curve)
    whole = score_of_sum if curve is None else _then(score_of_sum, curve)
    attribution = compile_attribution(trees, feature_count)
    return Compiled(score, whole(attribution.root_sum), _contributions(attribution, whole))


def _contributions(attribution: Attribution, curve: Curve) -> Callable[[Row, float], list[float]]:
    root_sum, moves = attribution
    base = curve(root_sum)
    tangent = (curve(root_sum + _STEP) - curve(root_sum - _STEP)) / (2.0 * _STEP)

    def contributions(row: Row, score: float) -> list[float]:
        moved = moves(row)
        total = math.fsum(moved)
        slope = (score - base) / total if abs(total) > _TINY else tangent
        return [move * slope for move in moved]

    return contributions


def _then(first: Callable[..., float], second: Curve) -> Callable[..., float]:
    return lambda value: second(first(value))
