"""Scores one row through boosted trees: the score is the sigmoid of the sum of log-odds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from flink_jobs.core.models.trees.linked_trees import boosting_trees
from flink_jobs.core.models.trees.walk import compile_sum, exact_shift

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.core.models.trees.arrays import BoostingArrays
    from flink_jobs.core.models.trees.walk import RowScore


def sigmoid(margin: float) -> float:
    """Return ``1 / (1 + e^-margin)``: a probability from log-odds, without overflow.

    >>> sigmoid(0.0), sigmoid(-1e6), sigmoid(1e6)
    (0.5, 0.0, 1.0)
    """
    if margin >= 0.0:
        return 1.0 / (1.0 + math.exp(-margin))
    odds = math.exp(margin)
    return odds / (1.0 + odds)


def compile_score(arrays: BoostingArrays, feature_count: int) -> RowScore:
    """Build the function from a row to its probability of fraud, in [0, 1].

    Args:
        arrays: boosted trees that passed ``check_trees``.
        feature_count: length of every row.

    Returns:
        A pure, thread-safe function. It raises ``ValueError`` for a row of another length or a row that holds NaN.
        It accepts infinities as ordinary values.

    Raises:
        ModelError: ``TOO_LARGE`` when a tree is deeper than ``MAX_DEPTH``.
    """
    base = float(arrays.base[0])
    largest = float(np.maximum.reduceat(np.abs(arrays.value), arrays.tree_offsets[:-1]).sum())
    shift = exact_shift(max(largest, 1.0))
    value_sum = compile_sum(boosting_trees(arrays), feature_count, shift)
    scale = 2.0**-shift
    return lambda row: sigmoid(base + value_sum(row) * scale)


def score_of_sum(arrays: BoostingArrays) -> Callable[[float], float]:
    """Return the score as a function of the sum of the trees' log-odds."""
    base = float(arrays.base[0])
    return lambda total: sigmoid(base + total)
