"""Turns stored arrays into trees that can be walked: absolute links, exact boundaries, and a value per node.

The value of a leaf is its part of the sum over trees. In boosting the value is stored in the artifact. In an isolation
forest it is the path length (Liu, Ting and Zhou, "Isolation Forest", ICDM 2008): ``h = depth + c(n)``, where ``n`` is
the number of training rows in the leaf and

    c(n) = 2 (ln(n - 1) + gamma) - 2 (n - 1) / n      c(2) = 1      c(1) = 0

is the mean depth of an unsuccessful search in a binary search tree of ``n`` keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.models.trees.arrays import LEAF
from flink_jobs.core.models.trees.checks import MAX_DEPTH

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flink_jobs.core.models.trees.arrays import BoostingArrays, ForestArrays, TreeArrays


def average_path_length(n_samples: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return ``c(n)`` for every ``n`` >= 1, by the same formula as scikit-learn."""
    n = np.maximum(n_samples.astype(np.float64), 3.0)
    long_path = 2.0 * (np.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n
    return np.where(n_samples > 2, long_path, np.where(n_samples == 2, 1.0, 0.0))  # noqa: PLR2004 - the formula's own 2


def float32_boundary(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for each threshold, the largest double ``b`` whose rounding to float32 is ``<= threshold``.

    scikit-learn rounds its inputs to float32 and compares them with the float64 threshold. Rounding is monotonic, so
    ``float32(x) <= threshold`` exactly when ``x <= b``. This function therefore rounds once per threshold at load time,
    and scoring does not round rows.

    Args:
        thresholds: finite numbers within the range of float32.
    """
    with np.errstate(over="ignore"):  # above the largest float32 the result is infinity, as intended
        below = thresholds.astype(np.float32)
        below = np.where(below > thresholds, np.nextafter(below, np.float32(-np.inf)), below)
        above = np.nextafter(below, np.float32(np.inf)).astype(np.float64)
        above[np.isinf(above)] = 2.0**128  # the next number if float32 had one more exponent
        middle = (below.astype(np.float64) + above) / 2.0  # exact: one bit more than float32 has
        tie_rounds_up = middle.astype(np.float32) > thresholds
    return np.where(tie_rounds_up, np.nextafter(middle, -np.inf), middle)


@dataclass(frozen=True, slots=True)
class Trees:
    """The nodes of a model of either family; node indexes count from the start of the arrays.

    Attributes:
        roots: node index of the root of every tree.
        feature: index of the feature a node splits on, ``LEAF`` at a leaf.
        boundary: a feature value ``<= boundary`` goes to the left child.
        left: node index of the left child.
        right: node index of the right child.
        value: at a leaf, its part of the sum over trees; at a split, the mean over the training rows below it.
    """

    roots: NDArray[np.int64]
    feature: NDArray[np.int16]
    boundary: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: NDArray[np.float64]


def forest_trees(arrays: ForestArrays) -> Trees:
    """Return the trees of a forest, with path lengths (in tree levels) as values.

    A split that cannot change the path length becomes a leaf. The most common one separates two rows: both children
    are leaves of the same depth.

    Raises:
        ModelError: ``TOO_LARGE`` when a tree is deeper than ``MAX_DEPTH``.
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
    """Return the trees of a boosted model, with log-odds as values.

    Raises:
        ModelError: ``TOO_LARGE`` when a tree is deeper than ``MAX_DEPTH``.
    """
    trees, levels = _linked(arrays, arrays.threshold)
    trees.value[:] = arrays.value
    _fill_means(trees, levels, arrays.n_samples)
    return trees


def _linked(arrays: TreeArrays, boundary: NDArray[np.float64]) -> tuple[Trees, list[NDArray[np.int64]]]:
    """Return the trees with all values 0, and for each depth the indexes of its splits over all trees."""
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
    return Trees(roots, feature, boundary, left, right, np.zeros(arrays.node_count)), levels


def _fill_means(trees: Trees, levels: list[NDArray[np.int64]], n_samples: NDArray[np.int32]) -> None:
    """Set the value of every split to the mean of its children, weighted by their training rows."""
    for splits in reversed(levels):
        one, other = trees.left[splits], trees.right[splits]
        weighted = trees.value[one] * n_samples[one] + trees.value[other] * n_samples[other]
        trees.value[splits] = weighted / n_samples[splits]
