"""Scores one row through boosted trees.

The score is a function of the sum of the leaves' log-odds, which `tree_sums` computes exactly. Here is its way in
Python: each tree has one 64-bit lane of the masks (`tree_masks`) and at most 64 leaves, so exactly one bit of each lane
survives; its position, found as the number of bits below it, picks the leaf's value.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from flink_jobs.core.models.trees.arrays import MAX_LEAVES
from flink_jobs.core.models.trees.boxes import Boxes, boosting_trees
from flink_jobs.core.models.trees.masks import Row, RowScore, masks_bytes, surviving_bits
from flink_jobs.core.models.trees.sums import compile_sum, exact_shift

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flink_jobs.core.models.trees.arrays import BoostingArrays

LANE: Final = np.dtype("<u8")


def sigmoid(margin: float) -> float:
    """Return `1 / (1 + e^-margin)`: a probability from log-odds, without overflow.

    >>> sigmoid(0.0), sigmoid(-1e6), sigmoid(1e6)
    (0.5, 0.0, 1.0)
    """
    if margin >= 0.0:
        return 1.0 / (1.0 + math.exp(-margin))
    odds = math.exp(margin)
    return odds / (1.0 + odds)


def compile_score(arrays: BoostingArrays, feature_count: int) -> RowScore:
    """Build the function from a row to the probability of fraud that the trees add up to, in [0, 1].

    Args:
        arrays: boosted trees that passed `check_trees`.
        feature_count: length of every row.

    Returns:
        A pure, thread-safe function. It raises `ValueError` for a row of another length or holding NaN;
        infinities are ordinary values.

    Raises:
        ModelError: `TOO_LARGE` when the tables would not fit in `TABLE_BYTES_LIMIT`.
    """
    trees = boosting_trees(arrays)
    base = float(arrays.base[0])
    largest = float(np.maximum.reduceat(np.abs(arrays.value), arrays.tree_offsets[:-1]).sum())
    shift = exact_shift(max(largest, 1.0))

    def table_bytes(nodes: int, tree_count: int) -> int:
        return masks_bytes(nodes // 2 + 1, feature_count, LANE.itemsize * tree_count)

    value_sum = compile_sum(trees, feature_count, shift, table_bytes, _value_sum)
    scale = 2.0**-shift
    return lambda row: sigmoid(base + value_sum(row) * scale)


def _value_sum(boxes: Boxes, leaf_values: NDArray[np.float64]) -> RowScore:
    """Compile one group of trees with fixed-point values of their leaves; the function returns their sum."""
    tree_count = int(boxes.tree.max()) + 1
    order = np.argsort(boxes.tree, kind="stable")
    first = np.searchsorted(boxes.tree[order], np.arange(tree_count))
    nth_of_its_tree = np.empty_like(order)
    nth_of_its_tree[order] = np.arange(len(order)) - first[boxes.tree[order]]
    positions = boxes.tree * MAX_LEAVES + nth_of_its_tree
    values = np.zeros(tree_count * MAX_LEAVES)
    values[positions] = leaf_values
    lanes = np.arange(tree_count) * MAX_LEAVES
    one = np.uint64(1)
    bits_of = surviving_bits(boxes, positions, tree_count * LANE.itemsize)
    from_bytes, count_bits, lane = np.frombuffer, np.bitwise_count, LANE  # locals are faster

    def value_sum(row: Row) -> float:
        return float(values[lanes + count_bits(from_bytes(bits_of(row), lane) - one)].sum())

    return value_sum
