"""Scores one row through a whole isolation forest in a few microseconds, in plain Python and numpy.

A leaf is a box: an interval per feature. A row is in exactly one box of every tree, so the sum of the path
lengths is a sum over boxes that contain the row. Following QuickScorer (Lucchese et al., SIGIR 2015), every
feature gets a table: for each interval between two neighbouring thresholds, a big integer with one bit per box
that this interval does not rule out. Scoring is a binary search per feature, an AND of one integer per feature,
and a count of the surviving bits. Where QuickScorer masks only the failed tests, here both sides are masked, so
that exactly one bit per tree survives and no search for the exit leaf is needed.

Bits of boxes with equal path length share 16-bit lanes, so the sum is (bits per lane) . (path length per lane).
Path lengths are fixed-point integers held in float64 whose sums stay below 2^53; every addition is exact, so
the score depends neither on the order of summation nor on the machine's vector width.

`tests/benchmarks/bench_model.py` compares this with the alternatives that were tried.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from flink_jobs.core.forest_arrays import LEAF
from flink_jobs.core.forest_boxes import Boxes, PrunedForest, average_path_length, boxes_of, prune
from flink_jobs.core.model_faults import ModelError, ModelFault

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flink_jobs.core.forest_arrays import ForestArrays

Row: TypeAlias = "tuple[float, ...]"
PathSum: TypeAlias = Callable[[Row], float]

TABLE_BYTES_GOAL: Final = 64 << 20
"""Trees are split into groups, each with tables of its own, until all tables together fit into this."""
TABLE_BYTES_LIMIT: Final = 512 << 20
"""A forest that needs more than this even then is refused."""
LANE: Final = np.dtype("<u2")
LANE_BITS: Final = 16
EXACT_BITS: Final = 53
"""Integers up to 2^53 are exact in float64."""
RANKS_PER_BLOCK: Final = 512
"""Masks built at a time: bounds the memory that building takes beyond the tables."""


def compile_score(arrays: ForestArrays, feature_count: int) -> PathSum:
    """Build the function from a row to its anomaly score `2^(-E[h] / c(n))`, in (0, 1].

    Args:
        arrays: a forest that passed `check_forest`.
        feature_count: length of every row.

    Returns:
        A pure, thread-safe function. It raises `ValueError` for a row of another length or holding NaN;
        infinities are ordinary values.

    Raises:
        ModelError: `TOO_LARGE` when the tables would not fit in `TABLE_BYTES_LIMIT`.
    """
    forest = prune(arrays)
    longest = max(float(forest.path_length[forest.feature == LEAF].max()), 1.0)
    shift = EXACT_BITS - 1 - math.ceil(math.log2(longest * arrays.tree_count))
    sums = [_path_sum(boxes_of(forest, trees, feature_count), shift) for trees in _groups(forest, feature_count)]
    normal = float(average_path_length(arrays.max_samples)[0]) * arrays.tree_count
    if normal == 0.0:
        return lambda row: 2.0 ** (sums[0](row) * 0.0 - 1.0)  # trees of one row: scikit-learn fixes the exponent
    scale = -(2.0**-shift) / normal
    if len(sums) == 1:
        only = sums[0]
        return lambda row: 2.0 ** (only(row) * scale)
    return lambda row: 2.0 ** (sum([part(row) for part in sums]) * scale)


def _groups(forest: PrunedForest, feature_count: int) -> list[slice]:
    """Cut the trees into the fewest groups whose tables fit the goal: bytes shrink with the number of groups."""
    tree_count = len(forest.roots)
    nodes = np.bincount(forest.tree, minlength=tree_count)  # before pruning: an upper bound
    path_lengths = len(np.unique(forest.path_length[forest.feature == LEAF]))
    count = 1
    while True:
        edges = np.linspace(0, tree_count, count + 1).astype(int)
        groups = [slice(int(a), int(b)) for a, b in pairwise(edges)]
        size = sum(_table_bytes(int(nodes[group].sum()), path_lengths, feature_count) for group in groups)
        if size <= TABLE_BYTES_GOAL:
            return groups
        if count == tree_count:
            break
        count = min(count * 2, tree_count)
    if size > TABLE_BYTES_LIMIT:
        detail = f"the scoring tables would take {size >> 20:,} MiB, at most {TABLE_BYTES_LIMIT >> 20} are allowed"
        raise ModelError(ModelFault.TOO_LARGE, f"{detail}; train with a smaller max_samples")
    return groups


def _table_bytes(nodes: int, path_lengths: int, feature_count: int) -> int:
    """Bound the tables' size: a row per split; in it a bit per leaf, and a lane begun for each path length."""
    leaves = nodes // 2 + 1
    object_bytes = 64  # the int's header and the list's pointer
    return (leaves + feature_count) * (leaves // 8 + LANE.itemsize * min(path_lengths, leaves) + object_bytes)


def _path_sum(boxes: Boxes, shift: int) -> PathSum:
    """Compile one group of trees; the function returns the sum of path lengths times 2^shift, exactly."""
    lengths = np.rint(boxes.path_length * 2.0**shift)
    positions, lane_lengths = _lanes(lengths)
    width = len(lane_lengths) * LANE.itemsize
    tables = [
        (thresholds.tolist(), _masks(boxes.low[:, feature], boxes.high[:, feature], len(thresholds), positions, width))
        for feature, thresholds in enumerate(boxes.thresholds)
    ]
    feature_count = len(tables)
    bisect, from_bytes, count_bits, lane = bisect_left, np.frombuffer, np.bitwise_count, LANE  # locals are faster

    def path_sum(row: Row) -> float:
        if len(row) != feature_count:
            message = f"the model takes {feature_count} features, not {len(row)}"
            raise ValueError(message)
        bits = -1
        for (thresholds, masks), value in zip(tables, row):  # noqa: B905 - lengths are checked above
            rank = bisect(thresholds, value)
            # NaN compares false with everything and so lands on rank 0: only there is it worth a look.
            if not rank and value != value:  # noqa: PLR0124
                message = "a feature is NaN; an absent feature is given its neutral value"
                raise ValueError(message)
            bits &= masks[rank]
        return float(count_bits(from_bytes(bits.to_bytes(width, "little"), lane)).dot(lane_lengths))

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


def _masks(
    low: NDArray[np.int64], high: NDArray[np.int64], highest_rank: int, positions: NDArray[np.int64], width: int
) -> list[int]:
    """Return, for each rank of one feature, the bits of the boxes it lies in."""
    masks: list[int] = []
    for first in range(0, highest_rank + 1, RANKS_PER_BLOCK):
        ranks = np.arange(first, min(first + RANKS_PER_BLOCK, highest_rank + 1))[:, None]
        inside = np.zeros((len(ranks), width * 8), dtype=np.bool_)
        inside[:, positions] = (low <= ranks) & (ranks <= high)
        masks += [int.from_bytes(row.tobytes(), "little") for row in np.packbits(inside, axis=1, bitorder="little")]
    return masks
