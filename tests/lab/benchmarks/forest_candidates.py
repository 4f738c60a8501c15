"""Other ways to score one row through an isolation forest, kept so that the choice can be measured again.

Each factory takes the forest and returns a function from a row to its score. The winner is
`flink_jobs.core.models.trees.forest_scorer`; what is here is slower, or no faster for more code.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flink_jobs.core.models.trees.arrays import LEAF, ForestArrays
from flink_jobs.core.models.trees.linked_trees import Trees, average_path_length, float32_boundary, forest_trees
from ml.fitting import FOREST_INPUTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

Score = Callable[[tuple[float, ...]], float]
FEATURES = len(FOREST_INPUTS)
NAMES = tuple(f"x{feature}" for feature in range(FEATURES))
FLAG = FOREST_INPUTS.index("is_night")
"""A feature of two values, for the specialised forests."""


def numpy_walk(arrays: ForestArrays) -> Score:
    """All trees one level down at a time: a gather per level."""
    sizes = np.diff(arrays.tree_offsets)
    start = np.repeat(arrays.tree_offsets[:-1], sizes).astype(np.int64)
    here = np.arange(arrays.node_count)
    leaf = arrays.feature == LEAF
    children = np.column_stack([np.where(leaf, here, arrays.left + start), np.where(leaf, here, arrays.right + start)])
    flat, feature = children.ravel(), np.where(leaf, 0, arrays.feature).astype(np.int64)
    threshold = np.where(leaf, np.inf, float32_boundary(arrays.threshold))
    length = forest_trees(arrays).value
    roots = arrays.tree_offsets[:-1].astype(np.int64)
    exponent = _exponent(arrays)
    levels = 0
    nodes = roots
    while (children[nodes, 0] != nodes).any():
        nodes = np.unique(children[nodes].ravel())
        levels += 1

    def score(row: tuple[float, ...]) -> float:
        values = np.array(row)
        node = roots
        for _ in range(levels):
            node = flat[2 * node + (values[feature[node]] > threshold[node])]
        return float(2.0 ** (length[node].sum() * exponent))

    return score


def list_walk(arrays: ForestArrays) -> Score:
    """One tree after the other, over Python lists."""
    sizes = np.diff(arrays.tree_offsets)
    start = np.repeat(arrays.tree_offsets[:-1], sizes)
    left, right = (arrays.left + start).tolist(), (arrays.right + start).tolist()
    feature, threshold = arrays.feature.tolist(), float32_boundary(arrays.threshold).tolist()
    length, roots, exponent = forest_trees(arrays).value.tolist(), arrays.tree_offsets[:-1].tolist(), _exponent(arrays)

    def score(row: tuple[float, ...]) -> float:
        total = 0.0
        for root in roots:
            node = root
            while (split := feature[node]) >= 0:
                node = left[node] if row[split] <= threshold[node] else right[node]
            total += length[node]
        return float(2.0 ** (total * exponent))

    return score


# --- nested conditional expressions ----------------------------------------------------------------------------


def nested(arrays: ForestArrays) -> Score:
    """Every tree a nested conditional expression; inputs rounded to float32 by struct."""
    forest = _unpruned(arrays, arrays.threshold)
    body = _statements(forest, range(arrays.tree_count))
    compiled = _compile(body, _exponent(arrays))
    pair = struct.Struct(f"{FEATURES}f")
    return lambda row: compiled(pair.unpack(pair.pack(*row)))


def nested_boundaries(arrays: ForestArrays) -> Score:
    """The same without rounding: the thresholds carry it."""
    forest = _unpruned(arrays, float32_boundary(arrays.threshold))
    return _compile(_statements(forest, range(arrays.tree_count)), _exponent(arrays))


def nested_pruned(arrays: ForestArrays) -> Score:
    """The same over the pruned forest."""
    return _compile(_statements(forest_trees(arrays), range(arrays.tree_count)), _exponent(arrays))


def nested_one_sum(arrays: ForestArrays) -> Score:
    """Pruned, and one sum of all trees instead of a hundred statements."""
    forest = forest_trees(arrays)
    trees = [_expression(forest, int(root), arrays, {}, likely=False) for root in forest.roots]
    return _compile([f"s = {'+'.join(trees)}"], _exponent(arrays))


def nested_likely(arrays: ForestArrays) -> Score:
    """Pruned, the side that more training rows took first."""
    forest = forest_trees(arrays)
    body = ["s = 0.0", *(f"s += {_expression(forest, int(root), arrays, {}, likely=True)}" for root in forest.roots)]
    return _compile(body, _exponent(arrays))


def nested_functions(arrays: ForestArrays) -> Score:
    """Pruned, ten trees per function."""
    parts = [
        _compile([*_statements(forest_trees(arrays), range(first, min(first + 10, arrays.tree_count)))], None)
        for first in range(0, arrays.tree_count, 10)
    ]
    exponent = _exponent(arrays)
    return lambda row: 2.0 ** (sum([part(row) for part in parts]) * exponent)


def nested_specialised(arrays: ForestArrays) -> Score:
    """Pruned, and one forest for the day, when most rows are, and one for the night."""
    forest = forest_trees(arrays)
    known = {FLAG: 0.0}
    trees = [_expression(forest, int(root), arrays, known, likely=False) for root in forest.roots]
    constant = sum(float(tree) for tree in trees if not tree.startswith("("))
    body = [f"s = {constant!r}", *(f"s += {tree}" for tree in trees if tree.startswith("("))]
    common, rest = _compile(body, _exponent(arrays)), nested_pruned(arrays)
    return lambda row: common(row) if row[FLAG] == 0.0 else rest(row)


def _unpruned(arrays: ForestArrays, threshold: NDArray[np.float64]) -> Trees:
    pruned = forest_trees(arrays)
    return Trees(pruned.roots, arrays.feature, threshold, pruned.left, pruned.right, pruned.value)


def _statements(forest: Trees, trees: range) -> list[str]:
    return [
        "s = 0.0",
        *(f"s += {_expression(forest, int(forest.roots[tree]), None, {}, likely=False)}" for tree in trees),
    ]


def _expression(forest: Trees, node: int, arrays: ForestArrays | None, known: dict[int, float], *, likely: bool) -> str:
    feature = int(forest.feature[node])
    if feature == LEAF:
        return repr(float(forest.value[node]))
    left, right = int(forest.left[node]), int(forest.right[node])
    boundary = float(forest.boundary[node])
    if feature in known:
        return _expression(forest, left if known[feature] <= boundary else right, arrays, known, likely=likely)
    one = _expression(forest, left, arrays, known, likely=likely)
    other = _expression(forest, right, arrays, known, likely=likely)
    if one == other:
        return one
    if likely and arrays is not None and arrays.n_samples[right] > arrays.n_samples[left]:
        return f"({other} if x{feature}>{boundary!r} else {one})"
    return f"({one} if x{feature}<={boundary!r} else {other})"


def _compile(body: list[str], exponent: float | None) -> Score:
    result = "s" if exponent is None else f"2.0**(s*{exponent!r})"
    lines = [f"{','.join(NAMES)} = row", *body, f"return {result}"]
    namespace: dict[str, Any] = {}
    exec("def score(row):\n" + "\n".join(f" {line}" for line in lines), namespace)  # noqa: S102 - numbers of our own
    score: Score = namespace["score"]
    return score


def _exponent(arrays: ForestArrays) -> float:
    return -1.0 / (float(average_path_length(arrays.max_samples)[0]) * arrays.tree_count)
