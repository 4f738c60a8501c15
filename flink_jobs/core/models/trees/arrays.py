"""Trees as plain arrays, and the checks that make them safe to evaluate.

Nodes of all trees lie one after another; `tree_offsets[t]:tree_offsets[t + 1]` is tree `t`, its first node
is the root, and child indexes count from the root. Parents come before their children, so trees that pass
:func:`check_trees` cannot contain a cycle. The two families of models share these arrays and add their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias

import numpy as np

from flink_jobs.core.models.faults import ModelError, ModelFault

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAF: Final = -1
"""Value of `feature`, `left` and `right` at a leaf."""
MAX_TREES: Final = 1_000
MAX_NODES: Final = 1 << 20
MAX_FEATURES: Final = 256
MAX_DEPTH: Final = 64
MAX_LEAVES: Final = 64
"""Maximum number of leaves of one boosted tree; the training option `max_leaf_nodes` has the same limit."""
MAX_FLOAT32: Final = float(np.finfo(np.float32).max)
MAX_MARGIN: Final = 1e6
"""Largest log-odds that the leaves of a boosted model may add up to; training stays below 100."""

Arrays: TypeAlias = "Mapping[str, NDArray[np.generic]]"

ARRAY_DTYPES: Final[dict[str, np.dtype[np.generic]]] = {
    "tree_offsets": np.dtype("<i4"),
    "feature": np.dtype("<i2"),
    "threshold": np.dtype("<f8"),
    "left": np.dtype("<i4"),
    "right": np.dtype("<i4"),
    "n_samples": np.dtype("<i4"),
    "max_samples": np.dtype("<i4"),
    "value": np.dtype("<f8"),
    "base": np.dtype("<f8"),
}
"""Exact type of every stored array of trees: the file format, little-endian on every machine."""
_PER_NODE: Final = ("feature", "threshold", "left", "right", "n_samples", "value")
_SINGLE: Final = ("max_samples", "base")


@dataclass(frozen=True, slots=True)
class TreeArrays:
    """What every family has.

    Attributes:
        tree_offsets: start of each tree in the node arrays, and the total at the end; int32, trees + 1.
        feature: index of the input a node splits on, `LEAF` at a leaf; int16, one per node.
        threshold: an input `<= threshold` goes left; float64, finite, 0.0 at a leaf.
        left: left child, counted from the tree's root, `LEAF` at a leaf; int32.
        right: right child, likewise; int32.
        n_samples: training rows that reached the node, at least 1; int32.
    """

    KIND: ClassVar[str]

    tree_offsets: NDArray[np.int32]
    feature: NDArray[np.int16]
    threshold: NDArray[np.float64]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    n_samples: NDArray[np.int32]

    @property
    def tree_count(self) -> int:
        """Number of trees."""
        return len(self.tree_offsets) - 1

    @property
    def node_count(self) -> int:
        """Number of nodes in all trees."""
        return len(self.feature)

    def named(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays by the names they are stored under."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class ForestArrays(TreeArrays):
    """An isolation forest. Its inputs are rounded to float32 before they are compared, as scikit-learn does.

    Attributes:
        max_samples: rows each tree was grown on (the `n` of `c(n)`); int32, one element.
    """

    KIND: ClassVar[str] = "isolation_forest"

    max_samples: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class BoostingArrays(TreeArrays):
    """Boosted trees that add up to log-odds. Their inputs are compared as doubles.

    Attributes:
        value: what a leaf adds to the log-odds; float64, finite, 0.0 at a split.
        base: log-odds before any tree; float64, one element.
    """

    KIND: ClassVar[str] = "gradient_boosting"

    value: NDArray[np.float64]
    base: NDArray[np.float64]


FAMILIES: Final[dict[str, type[TreeArrays]]] = {family.KIND: family for family in (ForestArrays, BoostingArrays)}
"""Every kind of model that can be served."""


def array_names(family: type[TreeArrays]) -> tuple[str, ...]:
    """Return the names of a family's arrays."""
    return tuple(field.name for field in fields(family))


def arrays_digest(arrays: Arrays) -> str:
    """SHA-256 (hex) over name, type, shape and bytes of every array, in name order."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def check_trees(arrays: TreeArrays, feature_count: int) -> None:
    """Refuse all trees that could not have come from training.

    Args:
        arrays: one family's arrays, with the types of `ARRAY_DTYPES`.
        feature_count: number of inputs the trees are meant for.

    Raises:
        ModelError: `BAD_ARRAYS` for types, shapes and non-finite numbers, `TOO_LARGE` beyond a cap,
            `BAD_TREE` for anything that is not a proper binary tree over those inputs.
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
            raise ModelError(ModelFault.BAD_ARRAYS, f"{name} holds exactly one number")


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
            raise ModelError(ModelFault.TOO_LARGE, f"{size:,} {what}, at most {limit:,} are allowed")
    if offsets[0] != 0 or offsets[-1] != arrays.node_count or (np.diff(offsets) < 1).any():
        raise ModelError(ModelFault.BAD_TREE, "tree_offsets does not cut the nodes into non-empty trees")


def _check_nodes(arrays: TreeArrays, feature_count: int) -> None:
    leaf = arrays.feature == LEAF
    if ((arrays.feature < LEAF) | (arrays.feature >= feature_count)).any():
        raise ModelError(ModelFault.BAD_TREE, f"a node splits on a feature outside 0..{feature_count - 1}")
    if (leaf != (arrays.left == LEAF)).any() or (leaf != (arrays.right == LEAF)).any():
        raise ModelError(ModelFault.BAD_TREE, "a node has one child, or is a leaf with children")
    # The comparison is written so that NaN fails it.
    if not (np.abs(arrays.threshold) <= MAX_FLOAT32).all():
        raise ModelError(ModelFault.BAD_ARRAYS, "a threshold is not a finite number within float32's range")
    if (arrays.n_samples < 1).any():
        raise ModelError(ModelFault.BAD_TREE, "a node without training rows")


def _check_links(arrays: TreeArrays) -> None:
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
    if (samples[left] + samples[right] != samples[inner]).any():
        raise ModelError(ModelFault.BAD_TREE, "the children's training rows do not add up to their parent's")


def _check_forest(arrays: ForestArrays) -> None:
    if arrays.max_samples[0] < 1 or (arrays.n_samples > arrays.max_samples[0]).any():
        raise ModelError(ModelFault.BAD_TREE, "a node holds more training rows than a tree was grown on")


def _check_boosting(arrays: BoostingArrays) -> None:
    leaves = np.add.reduceat((arrays.feature == LEAF).astype(np.int64), arrays.tree_offsets[:-1])
    if leaves.max() > MAX_LEAVES:
        raise ModelError(ModelFault.TOO_LARGE, f"a tree of {leaves.max()} leaves, at most {MAX_LEAVES} are allowed")
    largest = np.maximum.reduceat(np.abs(arrays.value), arrays.tree_offsets[:-1]).sum() + abs(arrays.base[0])
    if not largest <= MAX_MARGIN:  # NaN and infinity fail it too
        raise ModelError(ModelFault.BAD_ARRAYS, "a leaf's value or the base is not a number of a sensible size")
