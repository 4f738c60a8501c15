"""From trees to boxes: path lengths, pruning, float32-exact thresholds, and one interval of ranks per feature.

Path length of a leaf (Liu, Ting and Zhou, "Isolation Forest", ICDM 2008): `h = depth + c(n)`, where `n` is the
number of training rows that ended in the leaf and

    c(n) = 2 (ln(n - 1) + gamma) - 2 (n - 1) / n      c(2) = 1      c(1) = 0

is the mean depth of an unsuccessful search in a binary search tree of `n` keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flink_jobs.core.forest_arrays import LEAF, MAX_DEPTH
from flink_jobs.core.model_faults import ModelError, ModelFault

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flink_jobs.core.forest_arrays import ForestArrays


def average_path_length(n_samples: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return `c(n)` for every `n` >= 1, the same formula as scikit-learn's."""
    n = np.maximum(n_samples.astype(np.float64), 3.0)
    long_path = 2.0 * (np.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n
    return np.where(n_samples > 2, long_path, np.where(n_samples == 2, 1.0, 0.0))  # noqa: PLR2004 - the formula's own 2


def float32_boundary(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for each threshold, the largest double `b` whose rounding to float32 is `<= threshold`.

    scikit-learn rounds its inputs to float32 and compares them with the float64 threshold. Rounding is
    monotonic, so `float32(x) <= threshold` exactly when `x <= b`: the rounding is paid once per threshold
    at load time, never per row.

    Args:
        thresholds: finite, within float32's range.
    """
    with np.errstate(over="ignore"):  # beyond float32's largest number there is infinity, as there should be
        below = thresholds.astype(np.float32)
        below = np.where(below > thresholds, np.nextafter(below, np.float32(-np.inf)), below)
        above = np.nextafter(below, np.float32(np.inf)).astype(np.float64)
        above[np.isinf(above)] = 2.0**128  # what float32 would hold next, had it one more exponent
        middle = (below.astype(np.float64) + above) / 2.0  # exact: one bit more than float32 has
        tie_rounds_up = middle.astype(np.float32) > thresholds
    return np.where(tie_rounds_up, np.nextafter(middle, -np.inf), middle)


@dataclass(frozen=True, slots=True)
class PrunedForest:
    """Nodes with links counted from the start of the arrays, and every subtree of one path length cut to a leaf.

    Attributes:
        roots: node index of every tree's root.
        feature: split feature, `LEAF` at a leaf.
        boundary: a double `<= boundary` goes left.
        left: left child.
        right: right child.
        path_length: `depth + c(n)` at a leaf, in tree levels; elsewhere meaningless.
        tree: which tree a node belongs to.
    """

    roots: NDArray[np.int64]
    feature: NDArray[np.int16]
    boundary: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    path_length: NDArray[np.float64]
    tree: NDArray[np.int64]


def prune(arrays: ForestArrays) -> PrunedForest:
    """Compute path lengths and cut splits that cannot change them.

    The commonest such split parts two rows: both sides are leaves of the same depth.

    Raises:
        ModelError: `TOO_LARGE` when a tree is deeper than `MAX_DEPTH`.
    """
    sizes = np.diff(arrays.tree_offsets)
    start = np.repeat(arrays.tree_offsets[:-1], sizes).astype(np.int64)
    left, right = arrays.left + start, arrays.right + start
    feature = arrays.feature.copy()
    roots = arrays.tree_offsets[:-1].astype(np.int64)
    path_length = average_path_length(arrays.n_samples)
    levels: list[NDArray[np.int64]] = []  # the splits of each depth, over all trees
    nodes = roots
    while len(nodes):
        if len(levels) > MAX_DEPTH:
            raise ModelError(ModelFault.TOO_LARGE, f"a tree is deeper than {MAX_DEPTH} levels")
        path_length[nodes] += len(levels)
        splits = nodes[feature[nodes] != LEAF]
        levels.append(splits)
        nodes = np.concatenate([left[splits], right[splits]])
    for splits in reversed(levels):
        one, other = left[splits], right[splits]
        same = (feature[one] == LEAF) & (feature[other] == LEAF) & (path_length[one] == path_length[other])
        feature[splits[same]] = LEAF
        path_length[splits[same]] = path_length[one[same]]
    tree = np.repeat(np.arange(arrays.tree_count, dtype=np.int64), sizes)
    return PrunedForest(roots, feature, float32_boundary(arrays.threshold), left, right, path_length, tree)


@dataclass(frozen=True, slots=True)
class Boxes:
    """The leaves of some trees as boxes of ranks.

    The rank of a value is the number of the feature's thresholds below it; a row is in a box when
    `low <= rank <= high` for every feature.

    Attributes:
        thresholds: per feature, ascending and distinct.
        low: lowest rank inside; boxes x features.
        high: highest rank inside; boxes x features.
        path_length: one per box.
    """

    thresholds: tuple[NDArray[np.float64], ...]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    path_length: NDArray[np.float64]


def boxes_of(forest: PrunedForest, trees: slice, feature_count: int) -> Boxes:
    """Return the boxes of the chosen trees."""
    roots = forest.roots[trees]
    levels = [roots]
    while len(splits := levels[-1][forest.feature[levels[-1]] != LEAF]):
        levels.append(np.concatenate([forest.left[splits], forest.right[splits]]))
    nodes = np.concatenate(levels)
    kinds = forest.feature[nodes]
    thresholds = tuple(np.unique(forest.boundary[nodes[kinds == feature]]) for feature in range(feature_count))

    low = np.zeros((len(forest.feature), feature_count), dtype=np.int64)
    high = np.empty_like(low)
    high[roots] = [len(values) for values in thresholds]
    for level in levels:
        for feature, values in enumerate(thresholds):
            splits = level[forest.feature[level] == feature]
            left, right = forest.left[splits], forest.right[splits]
            rank = np.searchsorted(values, forest.boundary[splits])
            low[left] = low[right] = low[splits]
            high[left] = high[right] = high[splits]
            high[left, feature] = np.minimum(high[splits, feature], rank)
            low[right, feature] = np.maximum(low[splits, feature], rank + 1)
    leaves = nodes[kinds == LEAF]
    return Boxes(thresholds, low[leaves], high[leaves], forest.path_length[leaves])
