"""From trees to one function of a row: the sum of what its leaves hold, exactly, in a microsecond or in twenty.

Both families of models are such a sum (of path lengths, of log-odds). Values become fixed-point integers whose sums
stay below 2^53, so every addition is exact: the sum depends neither on its order nor on which of two ways computes it.
Where a C compiler was there at set-up, `_tree_walk.c` walks down all trees; elsewhere the bit masks of `tree_masks` do
it in plain Python. Tests hold the two to the same bits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from flink_jobs.core.models.trees.boxes import Boxes, Trees, boxes_of
from flink_jobs.core.models.trees.masks import Row, RowScore, tree_groups

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from flink_jobs.core.models.trees._tree_walk import Walker

try:
    from flink_jobs.core.models.trees import _tree_walk
except ImportError:
    _WALKER: type[Walker] | None = None
else:
    _WALKER = _tree_walk.Walker

EXACT_BITS: Final = 53
"""Integers up to 2^53 are exact in float64."""


def exact_shift(largest: float) -> int:
    """Return how many bits after the point values may have whose sum is at most ``largest``, from 1 up."""
    return EXACT_BITS - 1 - math.ceil(math.log2(largest))


def compile_sum(
    trees: Trees,
    feature_count: int,
    shift: int,
    table_bytes: Callable[[int, int], int],
    sum_of_boxes: Callable[[Boxes, NDArray[np.float64]], RowScore],
) -> RowScore:
    """Build the function from a row to the sum over all trees of the leaf's value, times `2^shift`.

    Args:
        trees: of a model that passed `check_trees`.
        feature_count: length of every row.
        shift: see `exact_shift`.
        table_bytes: bounds the bytes of a group's masks by its nodes and its trees.
        sum_of_boxes: the family's way in Python, for one group of boxes and their fixed-point values.

    Returns:
        A pure, thread-safe function. It raises `ValueError` for a row of another length or holding NaN;
        infinities are ordinary values.

    Raises:
        ModelError: `TOO_LARGE` when the masks would not fit in `TABLE_BYTES_LIMIT`, whichever way is taken: a model
            that one machine serves is served by all.
    """
    groups = tree_groups(trees, table_bytes)
    if _WALKER is not None:
        value = np.rint(trees.value * 2.0**shift).astype(np.int64)
        return _WALKER(feature_count, trees.roots, trees.feature, trees.boundary, trees.left, trees.right, value)
    every = [boxes_of(trees, group, feature_count) for group in groups]
    parts = [sum_of_boxes(boxes, np.rint(boxes.value * 2.0**shift)) for boxes in every]
    if len(parts) == 1:
        return parts[0]

    def sum_of_parts(row: Row) -> float:
        return sum([part(row) for part in parts])

    return sum_of_parts
