"""Boosted trees as another library stores them, and their conversion to the arrays that the detector evaluates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.trees.arrays import ARRAY_DTYPES, LEAF, BoostingArrays
from flink_jobs.core.models.trees.checks import check_trees
from flink_jobs.core.own_features.declaration import is_own
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RETRAIN: Final = "train it again without this option"


@dataclass(frozen=True, slots=True)
class ForeignTree:
    """One tree; every list has one entry per node, and node 0 is the root.

    Attributes:
        feature: index of the input a node splits on, ``LEAF`` at a leaf.
        boundary: an input ``<= boundary``, compared as a double, goes to the left child.
        left: left child, ``LEAF`` at a leaf.
        right: right child, ``LEAF`` at a leaf.
        weight: at a leaf, the number of training rows, at least 1; it weighs the explanation, not the score.
        value: at a leaf, the log-odds that it adds.
    """

    feature: Sequence[int]
    boundary: Sequence[float]
    left: Sequence[int]
    right: Sequence[int]
    weight: Sequence[int]
    value: Sequence[float]


@dataclass(frozen=True, slots=True)
class ForeignModel:
    """A model of another library.

    Attributes:
        library: name of the library.
        library_version: version of the library, or of its format, that wrote the file.
        names: names of the inputs in the order of the file; empty when the file has none.
        trees: its trees.
        base: log-odds before any tree.
        tolerance: largest difference between the scores of the detector and of the library that rounding explains.
    """

    library: str
    library_version: str
    names: tuple[str, ...]
    trees: tuple[ForeignTree, ...]
    base: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class Converted:
    """A model in the detector's form.

    Attributes:
        names: inputs in the order of the arrays.
        arrays: the trees.
        unused: names of inputs that no split uses and that this program does not compute; they are left out.
    """

    names: tuple[str, ...]
    arrays: BoostingArrays
    unused: tuple[str, ...]


def convert(model: ForeignModel, given: Sequence[str] = (), own: Sequence[str] = ()) -> Converted:
    """Return a model in the detector's form.

    Args:
        model: the model.
        given: names of its inputs in order, for a model whose file has none; they replace the names of the file.
        own: names of the own features of the installation.

    Raises:
        UserError: the names are unknown, missing or given twice, or an own feature precedes a feature.
        ModelError: the trees exceed a limit of the detector.
    """
    names = tuple(given) or model.names
    used = {split for tree in model.trees for split in tree.feature if split != LEAF}
    known = (*FEATURE_NAMES, *own)
    _check_names(names, used, len(model.names), given, known)
    kept = [place for place, name in enumerate(names) if name in known]
    if [is_own(names[place]) for place in kept] != sorted(is_own(names[place]) for place in kept):
        fix = "train on the columns in the order in which `streamflow features` writes them"
        raise UserError("an own feature precedes a feature of StreamFlow among the inputs of the model", fix)
    place_of = {place: number for number, place in enumerate(kept)}
    arrays = _arrays(model, place_of)
    check_trees(arrays, max(1, len(kept)))
    unused = tuple(name for name in names if name not in known)
    return Converted(tuple(names[place] for place in kept), arrays, unused)


def _check_names(
    names: tuple[str, ...], used: set[int], in_file: int, given: Sequence[str], known: Sequence[str]
) -> None:
    if not names:
        what = "the file does not name the inputs of the model"
        raise UserError(what, "name them in order with --names, or train on a table with column names")
    if given and in_file and len(given) != in_file:
        raise UserError(f"--names has {len(given)} names, and the model has {in_file} inputs", "name each input once")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"the model takes {', '.join(twice)} twice", "give each input its own name")
    if used and max(used) >= len(names):
        raise UserError(f"the model splits on input {max(used) + 1}, and {len(names)} are named", "name each input")
    unknown = [names[place] for place in sorted(used) if names[place] not in known]
    if unknown:
        fix = f"train on these inputs only: {', '.join(known)}; or rename them in order with --names"
        raise UserError(f"the detector does not compute these inputs of the model: {', '.join(unknown)}", fix)


def _arrays(model: ForeignModel, place_of: Mapping[int, int]) -> BoostingArrays:
    nodes, sizes = _Nodes(), [0]
    for tree in model.trees:
        nodes.add(tree, place_of)
        sizes.append(len(nodes.feature))
    columns: dict[str, NDArray[Any]] = {
        name: np.array(getattr(nodes, name), dtype=ARRAY_DTYPES[name]) for name in _NODE_ARRAYS
    }
    return BoostingArrays(
        **columns,
        tree_offsets=np.array(sizes, dtype=ARRAY_DTYPES["tree_offsets"]),
        base=np.array([model.base], dtype=ARRAY_DTYPES["base"]),
    )


_NODE_ARRAYS: Final = ("feature", "threshold", "left", "right", "n_samples", "value")


@dataclass(slots=True)
class _Nodes:
    """The nodes of all trees in the order of the arrays: parents before their children."""

    feature: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    n_samples: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)

    def add(self, tree: ForeignTree, place_of: Mapping[int, int]) -> None:
        """Add a tree, root first.

        Raises:
            UserError: a link leads outside the tree, or to a node that another link leads to.
        """
        first, order = len(self.feature), _from_the_root(tree)
        number = {node: place for place, node in enumerate(order)}
        for node in order:
            is_leaf = tree.left[node] == LEAF
            self.feature.append(LEAF if is_leaf else place_of[tree.feature[node]])
            self.threshold.append(0.0 if is_leaf else tree.boundary[node])
            self.left.append(LEAF if is_leaf else number[tree.left[node]])
            self.right.append(LEAF if is_leaf else number[tree.right[node]])
            self.n_samples.append(tree.weight[node] if is_leaf else 0)
            self.value.append(tree.value[node] if is_leaf else 0.0)
        for place in reversed(range(first, len(self.feature))):
            if self.left[place] != LEAF:
                children = self.left[place] + first, self.right[place] + first
                self.n_samples[place] = sum(self.n_samples[child] for child in children)


def _from_the_root(tree: ForeignTree) -> list[int]:
    order, waiting, seen = [], [0], set()
    while waiting:
        node = waiting.pop()
        if not 0 <= node < len(tree.left) or node in seen:
            raise UserError("a tree of the file has a wrong link between its nodes", "save the model again")
        seen.add(node)
        order.append(node)
        if tree.left[node] != LEAF:
            waiting += [tree.right[node], tree.left[node]]
    return order
