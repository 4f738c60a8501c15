"""Which feature moved a score by how much, exactly.

Walking down a tree, every split moves the mean over the training rows that are still alike; the move is the doing of
the feature that was asked (Saabas, "Interpreting random forests", 2014). Over a path the moves telescope: the mean at
the root plus all moves is the leaf's value. Summed over trees this explains the sum `x` (of path lengths or of
log-odds) as `x0 + d1 + d2 + ...`. The score is a curve over `x`; each `d` is scaled by the slope of the chord from
`x0` to `x`, so that

    score = base + c1 + c2 + ...      with base = score at x0,  ci = di * (score - base) / (x - x0)

holds to rounding. Contributions depend on the order of splits along a path; that is the price of exactness in
microseconds. They are for people who ask why, not inputs of anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flink_jobs.core.models.trees.arrays import LEAF

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.core.models.trees.linked_trees import Trees
    from flink_jobs.core.models.trees.walk import Row


class Attribution(NamedTuple):
    """How to explain the scores of one model.

    Attributes:
        root_sum: `x0`, the mean sum over trees of the training rows.
        moves: from a row to `d`, one per feature; they add up to the row's sum less `root_sum`.
    """

    root_sum: float
    moves: Callable[[Row], list[float]]


def compile_attribution(trees: Trees, feature_count: int) -> Attribution:
    """Prepare the walk; takes Python lists, for a walk asks for single elements."""
    leaf = trees.feature == LEAF
    inner = np.flatnonzero(~leaf)
    parent = np.arange(len(leaf))
    parent[trees.left[inner]] = parent[trees.right[inner]] = inner
    step = (trees.value - trees.value[parent]).tolist()
    feature, boundary = trees.feature.tolist(), trees.boundary.tolist()
    left, right, roots = trees.left.tolist(), trees.right.tolist(), trees.roots.tolist()

    def moves(row: Row) -> list[float]:
        moved = [0.0] * feature_count
        for root in roots:
            node = root
            while (split := feature[node]) >= 0:
                node = left[node] if row[split] <= boundary[node] else right[node]
                moved[split] += step[node]
        return moved

    return Attribution(float(trees.value[trees.roots].sum()), moves)
