"""Attributes a score exactly to the features (path attribution).

On the path from the root to a leaf, every split changes the mean over the training rows that followed the same path.
The change is attributed to the feature of the split (Saabas, "Interpreting random forests", 2014). The mean at the root
plus all changes is the value of the leaf. Summed over the trees, this explains the sum ``x`` (of path lengths or
log-odds) as ``x0 + d1 + d2 + ...``, one ``d`` per feature. The score is a function of ``x``; each ``d`` is scaled by
the slope of the chord from ``x0`` to ``x``, so that

    score = base + c1 + c2 + ...      with base = score at x0,  ci = di * (score - base) / (x - x0)

holds up to rounding. The contributions depend on the order of the splits on a path; exact alternatives without this
dependence take much longer. Contributions explain a score to analysts; nothing else is computed from them.
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
    """The attribution function of one model.

    Attributes:
        root_sum: ``x0``, the sum over trees of the means at the roots.
        moves: function from a row to ``d``, one number per feature; they add up to the row's sum minus ``root_sum``.
    """

    root_sum: float
    moves: Callable[[Row], list[float]]


def compile_attribution(trees: Trees, feature_count: int) -> Attribution:
    """Build the attribution; it uses lists because numpy is slow at reading single elements."""
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
