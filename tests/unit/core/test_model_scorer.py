"""The scorer, walking in Python, against the formula of the paper; and the float32 boundary against numpy."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_jobs.core.models.trees import walk as tree_walk
from flink_jobs.core.models.trees.arrays import ARRAY_DTYPES, LEAF, ForestArrays
from flink_jobs.core.models.trees.checks import MAX_FLOAT32, check_trees
from flink_jobs.core.models.trees.forest_scorer import compile_score
from flink_jobs.core.models.trees.linked_trees import average_path_length, float32_boundary
from tests.unit.core.tree_models import FEATURE_COUNT, forests, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


def walk(arrays: ForestArrays, row: tuple[float, ...], shift: int) -> int:
    """Sum of the path lengths times 2^shift, each rounded on its own, in integers."""
    total = 0
    with np.errstate(over="ignore"):
        rounded = np.array(row).astype(np.float32)
    for start in arrays.tree_offsets[:-1]:
        node, depth = int(start), 0
        while arrays.feature[node] != LEAF:
            goes_left = float(rounded[arrays.feature[node]]) <= float(arrays.threshold[node])
            node, depth = int(start) + int((arrays.left if goes_left else arrays.right)[node]), depth + 1
        length = depth + float(average_path_length(arrays.n_samples[node : node + 1])[0])
        total += round(length * 2.0**shift)
    return total


@pytest.fixture(autouse=True, scope="module")
def python_walk() -> Iterator[None]:
    """Score with the fallback in Python; ``tests/unit/native/test_tree_walk.py`` holds the walk in C to its bits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_walk, "_WALKER", None)
        yield


@settings(deadline=None, max_examples=150)
@given(forests, rows)
def test_equals_a_walk_down_every_tree(arrays: ForestArrays, given_rows: list[tuple[float, ...]]) -> None:
    check_trees(arrays, FEATURE_COUNT)
    score = compile_score(arrays, FEATURE_COUNT)
    normal = float(average_path_length(arrays.max_samples)[0]) * arrays.tree_count
    shift = 40
    for row in given_rows:
        expected = 2.0 ** (-walk(arrays, row, shift) / 2.0**shift / normal) if normal else 0.5
        assert score(row) == pytest.approx(expected, rel=1e-12)
        assert 0.0 < score(row) <= 1.0


@settings(deadline=None, max_examples=80)
@given(forests, rows, st.randoms(use_true_random=False))
def test_the_order_of_the_trees_does_not_change_one_bit(
    arrays: ForestArrays, given_rows: list[tuple[float, ...]], shuffle: object
) -> None:
    order = list(range(arrays.tree_count))
    shuffle.shuffle(order)  # type: ignore[attr-defined]
    cuts = [slice(arrays.tree_offsets[tree], arrays.tree_offsets[tree + 1]) for tree in order]
    shuffled = replace(
        arrays,
        tree_offsets=np.cumsum([0, *(cut.stop - cut.start for cut in cuts)]).astype(ARRAY_DTYPES["tree_offsets"]),
        feature=np.concatenate([arrays.feature[cut] for cut in cuts]),
        threshold=np.concatenate([arrays.threshold[cut] for cut in cuts]),
        left=np.concatenate([arrays.left[cut] for cut in cuts]),
        right=np.concatenate([arrays.right[cut] for cut in cuts]),
        n_samples=np.concatenate([arrays.n_samples[cut] for cut in cuts]),
    )
    check_trees(shuffled, FEATURE_COUNT)
    one, other = compile_score(arrays, FEATURE_COUNT), compile_score(shuffled, FEATURE_COUNT)
    assert [one(row) for row in given_rows] == [other(row) for row in given_rows]


# --- float32 ---------------------------------------------------------------------------------------------------

EDGES = [0.0, -0.0, 1.0, -1.0, 0.1, MAX_FLOAT32, -MAX_FLOAT32, 1e-45, -1e-45, 1e-320, 2.0**-126, 16777217.0, math.pi]


def boundaries(thresholds: list[float]) -> NDArray[np.float64]:
    return float32_boundary(np.array(thresholds))


@given(st.lists(st.sampled_from(EDGES) | st.floats(-MAX_FLOAT32, MAX_FLOAT32), min_size=1, max_size=20))
def test_the_boundary_is_the_last_double_that_rounds_to_the_left(thresholds: list[float]) -> None:
    boundary = boundaries(thresholds)
    with np.errstate(over="ignore"):
        assert (boundary.astype(np.float32).astype(np.float64) <= thresholds).all()
        assert (np.nextafter(boundary, np.inf).astype(np.float32).astype(np.float64) > thresholds).all()


@given(st.sampled_from(EDGES) | st.floats(-MAX_FLOAT32, MAX_FLOAT32), st.floats(allow_nan=False))
def test_comparing_doubles_equals_comparing_their_float32(threshold: float, value: float) -> None:
    with np.errstate(over="ignore"):
        rounded = float(np.float32(value))
    assert (value <= boundaries([threshold])[0]) == (rounded <= threshold)


@pytest.mark.parametrize(("n", "expected"), [(1, 0.0), (2, 1.0), (3, 1.2073923), (256, 10.2447709)])
def test_average_path_length(n: int, expected: float) -> None:
    assert average_path_length(np.array([n], dtype=np.int32))[0] == pytest.approx(expected, abs=1e-7)
