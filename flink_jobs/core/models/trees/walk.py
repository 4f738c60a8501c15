"""Walks one row down every tree of a model and returns the exact sum of the leaf values.

Both model families are a function of such a sum: path lengths in a forest, log-odds in boosting. Leaf values become
fixed-point integers whose sums stay below 2^53, so every addition is exact and the order of the trees does not matter.

There are two implementations with identical results. ``_tree_walk.c`` is used when ``make setup`` found a C compiler.
Otherwise ``_python_walk`` serves as fallback, about 30 times slower. A test compares the two bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flink_jobs.core.models.trees._tree_walk import Walker
    from flink_jobs.core.models.trees.linked_trees import Trees

try:
    from flink_jobs.core.models.trees import _tree_walk
except ImportError:
    _WALKER: type[Walker] | None = None
else:
    _WALKER = _tree_walk.Walker

Row: TypeAlias = "tuple[float, ...]"
RowScore: TypeAlias = Callable[[Row], float]

EXACT_BITS: Final = 53
"""Integers up to 2^53 are exact in float64."""


def exact_shift(largest: float) -> int:
    """Return the number of binary places that leaf values can have.

    Args:
        largest: upper bound of the sum of leaf values over all trees, at least 1.
    """
    return EXACT_BITS - 1 - math.ceil(math.log2(largest))


def compile_sum(trees: Trees, feature_count: int, shift: int) -> RowScore:
    """Build the function from a row to the sum of leaf values over all trees, times ``2^shift``.

    Args:
        trees: the trees of a model that passed ``check_trees``.
        feature_count: length of every row.
        shift: number of binary places, see ``exact_shift``.

    Returns:
        A pure, thread-safe function. It raises ``ValueError`` for a row of another length or a row that holds NaN.
        It accepts infinities as ordinary values.
    """
    value = np.rint(trees.value * 2.0**shift).astype(np.int64)
    if _WALKER is not None:
        return _WALKER(feature_count, trees.roots, trees.feature, trees.boundary, trees.left, trees.right, value)
    return _python_walk(trees, feature_count, value)


def _python_walk(trees: Trees, feature_count: int, values: NDArray[np.int64]) -> RowScore:
    """Build the fallback; it uses lists because numpy is slow at reading single elements."""
    feature, boundary, value = trees.feature.tolist(), trees.boundary.tolist(), values.tolist()
    left, right, roots = trees.left.tolist(), trees.right.tolist(), trees.roots.tolist()

    def tree_sum(row: Row) -> float:
        if len(row) != feature_count:
            raise ValueError(f"the model takes {feature_count} features, not {len(row)}")
        if any(map(math.isnan, row)):
            raise ValueError("a feature is NaN; an absent feature is given its neutral value")
        total = 0
        for root in roots:
            node = root
            while (split := feature[node]) >= 0:
                node = left[node] if row[split] <= boundary[node] else right[node]
            total += value[node]
        return float(total)

    return tree_sum
