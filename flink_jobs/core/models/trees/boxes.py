"""From trees to boxes: a value per leaf, exact thresholds, and one interval of ranks per feature.

The value of a leaf is what it adds to the sum over trees. In boosting it is stored. In an isolation forest it is the
path length (Liu, Ting and Zhou, "Isolation Forest", ICDM 2008): `h = depth + c(n)`, where `n` is the number of
training rows that ended in the leaf and

    c(n) = 2 (ln(n - 1) + gamma) - 2 (n - 1) / n      c(2) = 1      c(1) = 0

is the mean depth of an unsuccessful search in a binary search tree of `n` keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.models.trees.arrays import LEAF, MAX_DEPTH

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flink_jobs.core.models.trees.arrays import BoostingArrays, ForestArrays, TreeArrays


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
class Trees:
    """Nodes of a model of either family, with links counted from the start of the arrays.

    Attributes:
        roots: node index of every tree's root.
        feature: split feature, `LEAF` at a leaf.
        boundary: a double `<= boundary` goes left.
        left: left child.
        right: right child.
        value: at a leaf, what it adds to the sum over trees; elsewhere the mean over the training rows below.
        tree: which tree a node belongs to.
    """

    roots: NDArray[np.int64]
    feature: NDArray[np.int16]
    boundary: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: NDArray[np.float64]
    tree: NDArray[np.int64]


def forest_trees(arrays: ForestArrays) -> Trees:
    """Return a forest's trees, with path lengths (in tree levels) as values.

    Splits that cannot change the path length are cut. The commonest parts two rows: both sides are leaves of the
    same depth.

    Raises:
        ModelError: `TOO_LARGE` when a tree is deeper than `MAX_DEPTH`.
    """
    trees, levels = _linked(arrays, float32_boundary(arrays.threshold))
    path_length = trees.value
    path_length[:] = average_path_length(arrays.n_samples)
    nodes = trees.roots
    for depth, splits in enumerate(levels):
        path_length[nodes] += depth
        nodes = np.concatenate([trees.left[splits], trees.right[splits]])
    _fill_means(trees, levels, arrays.n_samples)
    feature = trees.feature
    for splits in reversed(levels):
        one, other = trees.left[splits], trees.right[splits]
        same = (feature[one] == LEAF) & (feature[other] == LEAF) & (path_length[one] == path_length[other])
        feature[splits[same]] = LEAF
        path_length[splits[same]] = path_length[one[same]]
    return trees


def boosting_trees(arrays: BoostingArrays) -> Trees:
    """Return a boosted model's trees, with log-odds as values.

    Raises:
        ModelError: `TOO_LARGE` when a tree is deeper than `MAX_DEPTH`.
    """
    trees, levels = _linked(arrays, arrays.threshold)
    trees.value[:] = arrays.value
    _fill_means(trees, levels, arrays.n_samples)
    return trees


def _linked(arrays: TreeArrays, boundary: NDArray[np.float64]) -> tuple[Trees, list[NDArray[np.int64]]]:
    """Return the trees without values, and the splits of each depth over all trees."""
    sizes = np.diff(arrays.tree_offsets)
    start = np.repeat(arrays.tree_offsets[:-1], sizes).astype(np.int64)
    left, right = arrays.left + start, arrays.right + start
    feature, roots = arrays.feature.copy(), arrays.tree_offsets[:-1].astype(np.int64)
    levels: list[NDArray[np.int64]] = []
    nodes = roots
    while len(nodes):
        if len(levels) > MAX_DEPTH:
            raise ModelError(ModelFault.TOO_LARGE, f"a tree is deeper than {MAX_DEPTH} levels")
        splits = nodes[feature[nodes] != LEAF]
        levels.append(splits)
        nodes = np.concatenate([left[splits], right[splits]])
    tree = np.repeat(np.arange(arrays.tree_count, dtype=np.int64), sizes)
    return Trees(roots, feature, boundary, left, right, np.zeros(arrays.node_count), tree), levels


def _fill_means(trees: Trees, levels: list[NDArray[np.int64]], n_samples: NDArray[np.int32]) -> None:
    """Give every split the mean of its children, weighted by the training rows that went there."""
    for splits in reversed(levels):
        one, other = trees.left[splits], trees.right[splits]
        weighted = trees.value[one] * n_samples[one] + trees.value[other] * n_samples[other]
        trees.value[splits] = weighted / n_samples[splits]


@dataclass(frozen=True, slots=True)
class Boxes:
    """The leaves of some trees as boxes of ranks.

    The rank of a value is the number of the feature's thresholds below it; a row is in a box when
    `low <= rank <= high` for every feature.

    Attributes:
        thresholds: per feature, ascending and distinct.
        low: lowest rank inside; boxes x features.
        high: highest rank inside; boxes x features.
        value: one per box.
        tree: which tree a box belongs to, counted from the first of the chosen ones.
    """

    thresholds: tuple[NDArray[np.float64], ...]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    value: NDArray[np.float64]
    tree: NDArray[np.int64]


def boxes_of(forest: Trees, trees: slice, feature_count: int) -> Boxes:
    """Return the boxes of the chosen trees, of either family."""
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
    return Boxes(thresholds, low[leaves], high[leaves], forest.value[leaves], forest.tree[leaves] - (trees.start or 0))
