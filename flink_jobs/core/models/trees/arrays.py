"""Trees stored as plain arrays: the file format of both model families.

The nodes of all trees are stored one tree after another. ``tree_offsets[t]:tree_offsets[t + 1]`` are the nodes of tree
``t``; its first node is the root, and child indexes count from the root. Parents come before their children, so trees
that pass ``checks.check_trees`` cannot contain a cycle. The two model families share these arrays and add their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAF: Final = -1
"""Value of ``feature``, ``left`` and ``right`` at a leaf."""

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
"""Exact type of every stored tree array: the file format is little-endian on every machine."""


@dataclass(frozen=True, slots=True)
class TreeArrays:
    """The arrays of every family.

    Attributes:
        tree_offsets: index of the first node of each tree, then the number of nodes; int32, trees + 1.
        feature: index of the input a node splits on, ``LEAF`` at a leaf; int16, one per node.
        threshold: an input ``<= threshold`` goes to the left child; float64, finite, 0.0 at a leaf; one per node.
        left: left child, counted from the root of the tree, ``LEAF`` at a leaf; int32, one per node.
        right: right child, counted from the root of the tree, ``LEAF`` at a leaf; int32, one per node.
        n_samples: number of training rows that reached the node, at least 1; int32, one per node.
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
        """Return the arrays by their stored names."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class ForestArrays(TreeArrays):
    """An isolation forest. As in scikit-learn, its inputs are rounded to float32 before they are compared.

    Attributes:
        max_samples: number of rows each tree was grown on (the ``n`` of ``c(n)``); int32, one element.
    """

    KIND: ClassVar[str] = "isolation_forest"

    max_samples: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class BoostingArrays(TreeArrays):
    """Boosted trees whose leaf values add up to log-odds. Their inputs are compared as doubles.

    Attributes:
        value: log-odds that a leaf adds; float64, finite, 0.0 at a split; one per node.
        base: log-odds before any tree; float64, one element.
    """

    KIND: ClassVar[str] = "gradient_boosting"

    value: NDArray[np.float64]
    base: NDArray[np.float64]


FAMILIES: Final[dict[str, type[TreeArrays]]] = {family.KIND: family for family in (ForestArrays, BoostingArrays)}
"""Every supported model family, by its kind."""


def array_names(family: type[TreeArrays]) -> tuple[str, ...]:
    """Return the names of a family's arrays."""
    return tuple(field.name for field in fields(family))


def arrays_digest(arrays: Arrays) -> str:
    """Return the SHA-256 (hex) over name, type, shape and bytes of every array, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
