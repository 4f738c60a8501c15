"""Scores one row through a whole isolation forest.

The score is a function of the sum of path lengths, which `tree_sums` computes exactly. Here is its way in Python: the
sum over the boxes that hold the row (`tree_masks`). Bits of boxes with equal path length share 16-bit lanes, so the sum
is (bits per lane) . (path length per lane), in integers held in float64.

`tests/lab/benchmarks/bench_model.py` compares this with the alternatives that were tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from flink_jobs.core.models.trees.arrays import LEAF
from flink_jobs.core.models.trees.boxes import Boxes, average_path_length, forest_trees
from flink_jobs.core.models.trees.masks import Row, RowScore, masks_bytes, surviving_bits
from flink_jobs.core.models.trees.sums import compile_sum, exact_shift

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flink_jobs.core.models.trees.arrays import ForestArrays

LANE: Final = np.dtype("<u2")
LANE_BITS: Final = 16


def compile_score(arrays: ForestArrays, feature_count: int) -> RowScore:
    """Build the function from a row to its anomaly score `2^(-E[h] / c(n))`, in (0, 1].

    Args:
        arrays: a forest that passed `check_trees`.
        feature_count: length of every row.

    Returns:
        A pure, thread-safe function. It raises `ValueError` for a row of another length or holding NaN;
        infinities are ordinary values.

    Raises:
        ModelError: `TOO_LARGE` when the tables would not fit in `TABLE_BYTES_LIMIT`.
    """
    forest = forest_trees(arrays)
    path_lengths = forest.value[forest.feature == LEAF]
    shift = exact_shift(max(float(path_lengths.max()), 1.0) * arrays.tree_count)
    distinct = len(np.unique(path_lengths))

    def table_bytes(nodes: int, _: int) -> int:  # in a mask: a bit per leaf, and a lane begun for each path length
        leaves = nodes // 2 + 1
        return masks_bytes(leaves, feature_count, leaves // 8 + LANE.itemsize * min(distinct, leaves))

    path_sum = compile_sum(forest, feature_count, shift, table_bytes, _path_sum)
    normal = float(average_path_length(arrays.max_samples)[0]) * arrays.tree_count
    if normal == 0.0:
        return lambda row: 2.0 ** (path_sum(row) * 0.0 - 1.0)  # trees of one row: scikit-learn fixes the exponent
    scale = -(2.0**-shift) / normal
    return lambda row: 2.0 ** (path_sum(row) * scale)


def _path_sum(boxes: Boxes, path_lengths: NDArray[np.float64]) -> RowScore:
    """Compile one group of trees with fixed-point path lengths; the function returns their sum."""
    positions, lane_lengths = _lanes(path_lengths)
    bits_of = surviving_bits(boxes, positions, len(lane_lengths) * LANE.itemsize)
    from_bytes, count_bits, lane = np.frombuffer, np.bitwise_count, LANE  # locals are faster

    def path_sum(row: Row) -> float:
        return float(count_bits(from_bytes(bits_of(row), lane)).dot(lane_lengths))

    return path_sum


def _lanes(lengths: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Give every box a bit so that no lane mixes path lengths; returns the bit of each box, the length of each lane."""
    values, which, counts = np.unique(lengths, return_inverse=True, return_counts=True)
    lanes = -(-counts // LANE_BITS)
    first_bit = (np.cumsum(lanes) - lanes) * LANE_BITS
    order = np.argsort(which, kind="stable")
    nth_of_its_length = np.empty_like(order)
    nth_of_its_length[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return first_bit[which] + nth_of_its_length, np.repeat(values, lanes)
