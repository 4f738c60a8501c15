"""Checks that make the arrays of trees safe to evaluate: types, sizes, links and values."""

from __future__ import annotations

from typing import Final

import numpy as np

from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.models.trees.arrays import ARRAY_DTYPES, LEAF, BoostingArrays, ForestArrays, TreeArrays

MAX_TREES: Final = 1_000
MAX_NODES: Final = 1 << 20
MAX_FEATURES: Final = 256
MAX_DEPTH: Final = 64
MAX_LEAVES: Final = 64
"""Maximum number of leaves of one boosted tree; the training option ``max_leaf_nodes`` has the same limit."""
MAX_FLOAT32: Final = float(np.finfo(np.float32).max)
MAX_MARGIN: Final = 1e6
"""Maximum of the sum of the absolute log-odds of a boosted model; trained models stay below 100."""
_PER_NODE: Final = ("feature", "threshold", "left", "right", "n_samples", "value")
_SINGLE: Final = ("max_samples", "base")


def check_trees(arrays: TreeArrays, feature_count: int) -> None:
    """Refuse arrays that training cannot produce.

    Args:
        arrays: the arrays of one family.
        feature_count: number of inputs of the model.

    Raises:
        ModelError: ``BAD_ARRAYS`` for wrong types, shapes and non-finite numbers, ``TOO_LARGE`` when a limit is
            exceeded, ``BAD_TREE`` when the arrays are not binary trees over ``feature_count`` inputs.
    """
    _check_types(arrays)
    _check_sizes(arrays, feature_count)
    _check_nodes(arrays, feature_count)
    _check_links(arrays)
    if isinstance(arrays, ForestArrays):
        _check_forest(arrays)
    elif isinstance(arrays, BoostingArrays):
        _check_boosting(arrays)


def _check_types(arrays: TreeArrays) -> None:
    named = arrays.named()
    for name, array in named.items():
        dtype = ARRAY_DTYPES[name]
        if array.dtype != dtype or array.ndim != 1:
            detail = f"array {name!r} is {array.dtype.str} with {array.ndim} dimensions, not a vector of {dtype.str}"
            raise ModelError(ModelFault.BAD_ARRAYS, detail)
    lengths = {name: len(named[name]) for name in _PER_NODE if name in named}
    if len(set(lengths.values())) != 1:
        raise ModelError(ModelFault.BAD_ARRAYS, f"node arrays differ in length: {lengths}")
    for name in _SINGLE:
        if name in named and len(named[name]) != 1:
            raise ModelError(ModelFault.BAD_ARRAYS, f"array {name!r} must hold exactly one number")


def _check_sizes(arrays: TreeArrays, feature_count: int) -> None:
    offsets = arrays.tree_offsets.astype(np.int64)
    for what, size, limit in (
        ("trees", len(offsets) - 1, MAX_TREES),
        ("nodes", arrays.node_count, MAX_NODES),
        ("features", feature_count, MAX_FEATURES),
    ):
        if size < 1:
            raise ModelError(ModelFault.BAD_ARRAYS, f"the model has no {what}")
        if size > limit:
            raise ModelError(ModelFault.TOO_LARGE, f"the model has {size:,} {what}; at most {limit:,} are allowed")
    if offsets[0] != 0 or offsets[-1] != arrays.node_count or (np.diff(offsets) < 1).any():
        raise ModelError(ModelFault.BAD_TREE, "tree_offsets does not divide the nodes into non-empty trees")


def _check_nodes(arrays: TreeArrays, feature_count: int) -> None:
    leaf = arrays.feature == LEAF
    if ((arrays.feature < LEAF) | (arrays.feature >= feature_count)).any():
        raise ModelError(ModelFault.BAD_TREE, f"a node splits on a feature outside 0..{feature_count - 1}")
    if (leaf != (arrays.left == LEAF)).any() or (leaf != (arrays.right == LEAF)).any():
        raise ModelError(ModelFault.BAD_TREE, "a node has only one child, or a leaf has children")
    # NaN fails this comparison.
    if not (np.abs(arrays.threshold) <= MAX_FLOAT32).all():
        raise ModelError(ModelFault.BAD_ARRAYS, "a threshold is not a finite number within float32's range")
    if (arrays.n_samples < 1).any():
        raise ModelError(ModelFault.BAD_TREE, "a node has no training rows")


def _check_links(arrays: TreeArrays) -> None:
    sizes = np.diff(arrays.tree_offsets)
    start = np.repeat(arrays.tree_offsets[:-1], sizes).astype(np.int64)
    size = np.repeat(sizes, sizes).astype(np.int64)
    inner = np.flatnonzero(arrays.feature != LEAF)
    children = np.concatenate([arrays.left[inner], arrays.right[inner]]).astype(np.int64)
    parents = np.concatenate([inner, inner])
    if ((children <= parents - start[parents]) | (children >= size[parents])).any():
        raise ModelError(ModelFault.BAD_TREE, "a child is outside its tree or before its parent")
    children += start[parents]
    references = np.bincount(children, minlength=arrays.node_count)
    expected = np.ones(arrays.node_count, dtype=np.int64)
    expected[arrays.tree_offsets[:-1]] = 0
    if (references != expected).any():
        raise ModelError(ModelFault.BAD_TREE, "a node has no parent or more than one parent")
    samples = arrays.n_samples.astype(np.int64)
    left, right = np.split(children, 2)
    if (samples[left] + samples[right] != samples[inner]).any():
        raise ModelError(ModelFault.BAD_TREE, "the children's training rows do not add up to their parent's")


def _check_forest(arrays: ForestArrays) -> None:
    if arrays.max_samples[0] < 1 or (arrays.n_samples > arrays.max_samples[0]).any():
        raise ModelError(ModelFault.BAD_TREE, "a node holds more training rows than a tree was grown on")


def _check_boosting(arrays: BoostingArrays) -> None:
    leaves = np.add.reduceat((arrays.feature == LEAF).astype(np.int64), arrays.tree_offsets[:-1])
    if leaves.max() > MAX_LEAVES:
        raise ModelError(ModelFault.TOO_LARGE, f"a tree has {leaves.max()} leaves; at most {MAX_LEAVES} are allowed")
    largest = np.maximum.reduceat(np.abs(arrays.value), arrays.tree_offsets[:-1]).sum() + abs(arrays.base[0])
    if not largest <= MAX_MARGIN:  # NaN and infinity fail this comparison too
        detail = f"a leaf value or the base is not finite, or their log-odds exceed {MAX_MARGIN:g}"
        raise ModelError(ModelFault.BAD_ARRAYS, detail)
