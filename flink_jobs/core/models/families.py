"""The kinds of models, each compiled into the same three things: a score, a base, and contributions.

`score(row)` is the fast way; `contributions(row, score)` walks the trees in Python and is for alerts and for people.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from flink_jobs.core.models.calibration import CURVE_RAW, compile_curve
from flink_jobs.core.models.trees import boosting_scorer, forest_scorer
from flink_jobs.core.models.trees.arrays import BoostingArrays, ForestArrays, TreeArrays
from flink_jobs.core.models.trees.linked_trees import average_path_length, boosting_trees, forest_trees
from flink_jobs.core.models.trees.path_attribution import compile_attribution

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.core.models.trees.arrays import Arrays
    from flink_jobs.core.models.trees.path_attribution import Attribution
    from flink_jobs.core.models.trees.walk import Row, RowScore

    Curve = Callable[[float], float]

_TINY: Final = 1e-13
"""Below this the chord of the curve is lost in rounding, and its tangent takes over."""
_STEP: Final = 1e-6


class Compiled(NamedTuple):
    """A model ready to score.

    Attributes:
        score: row to score, 0 to 1. Pure and thread-safe; `ValueError` for NaN or a row of another length.
        base: score of the mean training row: what the contributions add to.
        contributions: row and its score to one number per input; `base` and all of them add up to the score.
    """

    score: RowScore
    base: float
    contributions: Callable[[Row, float], list[float]]


def compile_model(arrays: TreeArrays, extras: Arrays, feature_count: int) -> Compiled:
    """Compile either kind.

    Args:
        arrays: trees that passed `check_trees`.
        extras: the artifact's optional arrays; here the calibration curve counts.
        feature_count: length of every row.

    Raises:
        ModelError: the tables would be too large, or the curve is none.
    """
    curve = compile_curve(extras) if CURVE_RAW in extras else None
    if isinstance(arrays, ForestArrays):
        raw = forest_scorer.compile_score(arrays, feature_count)
        trees, score_of_sum = forest_trees(arrays), _forest_curve(arrays)
    elif isinstance(arrays, BoostingArrays):
        raw = boosting_scorer.compile_score(arrays, feature_count)
        trees, score_of_sum = boosting_trees(arrays), _boosting_curve(arrays)
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


def _forest_curve(arrays: ForestArrays) -> Curve:
    """Return `2^(-x / c(n))` over the sum of path lengths; trees of one row score 0.5 whatever the row."""
    normal = float(average_path_length(arrays.max_samples)[0]) * arrays.tree_count
    return (lambda total: 2.0 ** (-total / normal)) if normal else (lambda _: 0.5)


def _boosting_curve(arrays: BoostingArrays) -> Curve:
    base = float(arrays.base[0])
    return lambda total: boosting_scorer.sigmoid(base + total)


def _then(first: Callable[..., float], second: Curve) -> Callable[..., float]:
    return lambda value: second(first(value))
