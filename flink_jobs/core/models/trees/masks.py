"""Tables of bit masks: which leaves of all trees can a row be in, given the value of one feature?

A leaf is a box: an interval per feature. A row is in exactly one box of every tree. Following QuickScorer (Lucchese
et al., SIGIR 2015), every feature gets a table: for each interval between two neighbouring thresholds, a big integer
with one bit per box that this interval does not rule out. A binary search per feature and an AND of one integer per
feature leave the bits of the boxes that hold the row. Where QuickScorer masks only the failed tests, here both sides
are masked, so that exactly one bit per tree survives and no search for the exit leaf is needed.

What the surviving bits mean is the families' business: see `forest_scorer` and `boosting_scorer`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from flink_jobs.core.models.faults import ModelError, ModelFault

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flink_jobs.core.models.trees.boxes import Boxes, Trees

Row: TypeAlias = "tuple[float, ...]"
RowScore: TypeAlias = Callable[[Row], float]

TABLE_BYTES_GOAL: Final = 64 << 20
"""Trees are split into groups, each with tables of its own, until all tables together fit into this."""
TABLE_BYTES_LIMIT: Final = 512 << 20
"""A model that needs more than this even then is refused."""
_RANKS_PER_BLOCK: Final = 512
"""Masks built at a time: bounds the memory that building takes beyond the tables."""
_OBJECT_BYTES: Final = 64
"""An int's header and the list's pointer to it."""


def surviving_bits(boxes: Boxes, positions: NDArray[np.int64], width: int) -> Callable[[Row], bytes]:
    """Compile the tables of some boxes.

    Args:
        boxes: of one group of trees.
        positions: the bit of each box, below `8 * width`.
        width: bytes of a mask.

    Returns:
        A pure, thread-safe function from a row to `width` bytes, little-endian, with the bits of the boxes that hold
        the row. It raises `ValueError` for a row of another length or holding NaN; infinities are ordinary values.
    """
    tables = [
        (thresholds.tolist(), _masks(boxes.low[:, feature], boxes.high[:, feature], len(thresholds), positions, width))
        for feature, thresholds in enumerate(boxes.thresholds)
    ]
    feature_count, bisect = len(tables), bisect_left

    def bits_of(row: Row) -> bytes:
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
        return bits.to_bytes(width, "little")

    return bits_of


def tree_groups(trees: Trees, table_bytes: Callable[[int, int], int]) -> list[slice]:
    """Cut the trees into the fewest groups whose tables fit the goal: bytes shrink with the number of groups.

    Args:
        trees: all of a model's.
        table_bytes: bounds the bytes of a group's tables by its nodes and its trees.

    Raises:
        ModelError: `TOO_LARGE` when the tables would not fit in `TABLE_BYTES_LIMIT`.
    """
    tree_count = len(trees.roots)
    nodes = np.bincount(trees.tree, minlength=tree_count)  # before pruning: an upper bound
    count = 1
    while True:
        edges = np.linspace(0, tree_count, count + 1).astype(int)
        groups = [slice(int(a), int(b)) for a, b in pairwise(edges)]
        size = sum(table_bytes(int(nodes[group].sum()), group.stop - group.start) for group in groups)
        if size <= TABLE_BYTES_GOAL:
            return groups
        if count == tree_count:
            break
        count = min(count * 2, tree_count)
    if size > TABLE_BYTES_LIMIT:
        detail = f"the scoring tables would take {size >> 20:,} MiB, at most {TABLE_BYTES_LIMIT >> 20} are allowed"
        raise ModelError(ModelFault.TOO_LARGE, f"{detail}; train with smaller or fewer trees")
    return groups


def masks_bytes(leaves: int, feature_count: int, width: int) -> int:
    """Bound the bytes of a group's tables: a mask per split, and one more per feature."""
    return (leaves + feature_count) * (width + _OBJECT_BYTES)


def _masks(
    low: NDArray[np.int64], high: NDArray[np.int64], highest_rank: int, positions: NDArray[np.int64], width: int
) -> list[int]:
    """Return, for each rank of one feature, the bits of the boxes it lies in."""
    masks: list[int] = []
    for first in range(0, highest_rank + 1, _RANKS_PER_BLOCK):
        ranks = np.arange(first, min(first + _RANKS_PER_BLOCK, highest_rank + 1))[:, None]
        inside = np.zeros((len(ranks), width * 8), dtype=np.bool_)
        inside[:, positions] = (low <= ranks) & (ranks <= high)
        masks += [int.from_bytes(row.tobytes(), "little") for row in np.packbits(inside, axis=1, bitorder="little")]
    return masks
