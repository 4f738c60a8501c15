"""An isolation forest as plain arrays, and the checks that make them safe to evaluate.

Nodes of all trees lie one after another; `tree_offsets[t]:tree_offsets[t + 1]` is tree `t`, its first node
is the root, and child indexes count from the root. Parents come before their children, so a forest that
passes :func:`check_forest` cannot contain a cycle.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np

from flink_jobs.core.model_faults import ModelError, ModelFault

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAF: Final = -1
"""Value of `feature`, `left` and `right` at a leaf."""
MAX_TREES: Final = 1_000
MAX_NODES: Final = 1 << 20
MAX_FEATURES: Final = 256
MAX_DEPTH: Final = 64
MAX_FLOAT32: Final = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class ForestArrays:
    """One fitted isolation forest.

    Attributes:
        tree_offsets: start of each tree in the node arrays, and the total at the end; int32, trees + 1.
        feature: feature index a node splits on, `LEAF` at a leaf; int16, one per node.
        threshold: a float32-rounded input `<= threshold` goes left; float64, finite, 0.0 at a leaf.
        left: left child, counted from the tree's root, `LEAF` at a leaf; int32.
        right: right child, likewise; int32.
        n_samples: training rows that reached the node, at least 1; int32.
        max_samples: rows each tree was grown on (the `n` of `c(n)`); int32, one element.
    """

    tree_offsets: NDArray[np.int32]
    feature: NDArray[np.int16]
    threshold: NDArray[np.float64]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    n_samples: NDArray[np.int32]
    max_samples: NDArray[np.int32]

    @property
    def tree_count(self) -> int:
        """Number of trees."""
        return len(self.tree_offsets) - 1

    @property
    def node_count(self) -> int:
        """Number of nodes in all trees."""
        return len(self.feature)


ARRAY_DTYPES: Final[dict[str, np.dtype[np.generic]]] = {
    "tree_offsets": np.dtype("<i4"),
    "feature": np.dtype("<i2"),
    "threshold": np.dtype("<f8"),
    "left": np.dtype("<i4"),
    "right": np.dtype("<i4"),
    "n_samples": np.dtype("<i4"),
    "max_samples": np.dtype("<i4"),
}
"""Exact type of every stored array: the file format, little-endian on every machine."""


def arrays_digest(arrays: ForestArrays) -> str:
    """SHA-256 (hex) over name, type, shape and bytes of every array, in name order."""
    digest = hashlib.sha256()
    for name in sorted(field.name for field in fields(arrays)):
        array = np.ascontiguousarray(getattr(arrays, name), dtype=ARRAY_DTYPES[name])
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def check_forest(arrays: ForestArrays, feature_count: int) -> None:
    """Refuse every forest that could not have come from training.

    Args:
        arrays: the forest, with the types of `ARRAY_DTYPES`.
        feature_count: number of inputs the forest is meant for.

    Raises:
        ModelError: `BAD_ARRAYS` for types, shapes and non-finite numbers, `TOO_LARGE` beyond a cap,
            `BAD_TREE` for anything that is not a proper binary tree over those features.
    """
    _check_types(arrays)
    _check_sizes(arrays, feature_count)
    _check_nodes(arrays, feature_count)
    _check_links(arrays)


def _check_types(arrays: ForestArrays) -> None:
    for name, dtype in ARRAY_DTYPES.items():
        array: NDArray[np.generic] = getattr(arrays, name)
        if array.dtype != dtype or array.ndim != 1:
            detail = f"array {name!r} is {array.dtype.str} with {array.ndim} dimensions, not a vector of {dtype.str}"
            raise ModelError(ModelFault.BAD_ARRAYS, detail)
    lengths = {name: len(getattr(arrays, name)) for name in ("feature", "threshold", "left", "right", "n_samples")}
    if len(set(lengths.values())) != 1:
        raise ModelError(ModelFault.BAD_ARRAYS, f"node arrays differ in length: {lengths}")
    if len(arrays.max_samples) != 1:
        raise ModelError(ModelFault.BAD_ARRAYS, "max_samples holds exactly one number")


def _check_sizes(arrays: ForestArrays, feature_count: int) -> None:
    offsets = arrays.tree_offsets.astype(np.int64)
    for what, size, limit in (
        ("trees", len(offsets) - 1, MAX_TREES),
        ("nodes", arrays.node_count, MAX_NODES),
        ("features", feature_count, MAX_FEATURES),
    ):
        if size < 1:
            raise ModelError(ModelFault.BAD_ARRAYS, f"the forest has no {what}")
        if size > limit:
            raise ModelError(ModelFault.TOO_LARGE, f"{size:,} {what}, at most {limit:,} are allowed")
    if offsets[0] != 0 or offsets[-1] != arrays.node_count or (np.diff(offsets) < 1).any():
        raise ModelError(ModelFault.BAD_TREE, "tree_offsets does not cut the nodes into non-empty trees")


def _check_nodes(arrays: ForestArrays, feature_count: int) -> None:
    leaf = arrays.feature == LEAF
    if ((arrays.feature < LEAF) | (arrays.feature >= feature_count)).any():
        raise ModelError(ModelFault.BAD_TREE, f"a node splits on a feature outside 0..{feature_count - 1}")
    if (leaf != (arrays.left == LEAF)).any() or (leaf != (arrays.right == LEAF)).any():
        raise ModelError(ModelFault.BAD_TREE, "a node has one child, or is a leaf with children")
    # The comparison is written so that NaN fails it.
    if not (np.abs(arrays.threshold) <= MAX_FLOAT32).all():
        raise ModelError(ModelFault.BAD_ARRAYS, "a threshold is not a finite number within float32's range")
    if (arrays.n_samples < 1).any() or arrays.max_samples[0] < 1:
        raise ModelError(ModelFault.BAD_TREE, "a node without training rows")


def _check_links(arrays: ForestArrays) -> None:
    sizes = np.diff(arrays.tree_offsets)
    start = np.repeat(arrays.tree_offsets[:-1], sizes).astype(np.int64)
    size = np.repeat(sizes, sizes).astype(np.int64)
    inner = np.flatnonzero(arrays.feature != LEAF)
    children = np.concatenate([arrays.left[inner], arrays.right[inner]]).astype(np.int64)
    parents = np.concatenate([inner, inner])
    if ((children <= parents - start[parents]) | (children >= size[parents])).any():
        raise ModelError(ModelFault.BAD_TREE, "a child lies outside its tree or before its parent")
    children += start[parents]
    references = np.bincount(children, minlength=arrays.node_count)
    expected = np.ones(arrays.node_count, dtype=np.int64)
    expected[arrays.tree_offsets[:-1]] = 0
    if (references != expected).any():
        raise ModelError(ModelFault.BAD_TREE, "a node has no parent or more than one")
    samples = arrays.n_samples.astype(np.int64)
    left, right = np.split(children, 2)
    if (samples[left] + samples[right] != samples[inner]).any() or (samples > arrays.max_samples[0]).any():
        raise ModelError(ModelFault.BAD_TREE, "the children's training rows do not add up to their parent's")
