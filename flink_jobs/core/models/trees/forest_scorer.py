"""Scores one row through an isolation forest: the score is a function of the sum of path lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flink_jobs.core.models.trees.arrays import LEAF
from flink_jobs.core.models.trees.linked_trees import average_path_length, forest_trees
from flink_jobs.core.models.trees.walk import compile_sum, exact_shift

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.core.models.trees.arrays import ForestArrays
    from flink_jobs.core.models.trees.walk import RowScore


def compile_score(arrays: ForestArrays, feature_count: int) -> RowScore:
    """Build the function from a row to its anomaly score ``2^(-E[h] / c(n))``, in (0, 1].

    Args:
        arrays: a forest that passed ``check_trees``.
        feature_count: length of every row.

    Returns:
        A pure, thread-safe function. It raises ``ValueError`` for a row of another length or a row that holds NaN.
        It accepts infinities as ordinary values.

    Raises:
        ModelError: ``TOO_LARGE`` when a tree is deeper than ``MAX_DEPTH``.
    """
    forest = forest_trees(arrays)
    longest_path = float(forest.value[forest.feature == LEAF].max())
    shift = exact_shift(max(longest_path, 1.0) * arrays.tree_count)
    path_sum = compile_sum(forest, feature_count, shift)
    normal = float(average_path_length(arrays.max_samples)[0]) * arrays.tree_count
    if normal == 0.0:
        return lambda row: 2.0 ** (path_sum(row) * 0.0 - 1.0)  # trees of one row: scikit-learn fixes the exponent
    scale = -(2.0**-shift) / normal
    return lambda row: 2.0 ** (path_sum(row) * scale)


def score_of_sum(arrays: ForestArrays) -> Callable[[float], float]:
    """Return the score as a function of the sum of path lengths; trees of one training row always score 0.5."""
    normal = float(average_path_length(arrays.max_samples)[0]) * arrays.tree_count
    return (lambda total: 2.0 ** (-total / normal)) if normal else (lambda _: 0.5)
