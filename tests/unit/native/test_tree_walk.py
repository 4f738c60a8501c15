"""The walk in C returns the same bits as the walk in Python, and refuses arrays that it would read beyond."""

from __future__ import annotations

import importlib.util
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_jobs.core.models.families import compile_model
from flink_jobs.core.models.trees import walk as tree_walk
from flink_jobs.native import modules
from flink_jobs.native.loader import NativeFinder
from tests.unit.core.tree_models import FEATURE_COUNT, boosted, forests, rows

if TYPE_CHECKING:
    from flink_jobs.core.models.trees.arrays import TreeArrays

pytestmark = pytest.mark.skipif(
    not modules.build_folder().is_dir(), reason="no build of the present sources: run `make setup` with gcc"
)


def walker_type() -> Any:  # noqa: ANN401 - loaded from the build, whichever core this process runs
    spec = NativeFinder(modules.build_folder()).find_spec(f"flink_jobs.core.{modules.WALKER}")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Walker


def scores(arrays: TreeArrays, walker: object, given_rows: list[tuple[float, ...]]) -> list[float]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_walk, "_WALKER", walker)
        score = compile_model(arrays, {}, FEATURE_COUNT).score
    return [score(row) for row in given_rows]


@settings(deadline=None, max_examples=150)
@given(st.one_of(forests, boosted), rows)
def test_both_walks_give_the_same_bits(arrays: TreeArrays, given_rows: list[tuple[float, ...]]) -> None:
    assert scores(arrays, walker_type(), given_rows) == scores(arrays, None, given_rows)


def one_split(**changes: object) -> tuple[Any, ...]:
    """``x[0] <= 1.5`` gives 10, else 20; ``changes`` replaces arrays."""
    arrays = {
        "roots": np.array([0]), "feature": np.array([0, -1, -1], dtype=np.int16),
        "boundary": np.array([1.5, 0.0, 0.0]), "left": np.array([1, -1, -1]), "right": np.array([2, -1, -1]),
        "value": np.array([0, 10, 20]),
    }  # fmt: skip
    return tuple((arrays | changes).values())


def test_sums_over_more_trees_than_one_group_holds() -> None:
    walk = walker_type()(1, *one_split())
    assert [walk((x,)) for x in (-math.inf, 1.5, math.nextafter(1.5, 2.0), math.inf)] == [10.0, 10.0, 20.0, 20.0]
    count = 19
    start = 3 * np.arange(count)
    shift = np.repeat(start, 3)
    _, feature, boundary, left, right, value = one_split()
    many = walker_type()(
        1, start, np.tile(feature, count), np.tile(boundary, count),
        np.tile(left, count) + shift, np.tile(right, count) + shift, np.tile(value, count),
    )  # fmt: skip
    assert many((1.0,)) == 10.0 * count


@pytest.mark.parametrize(
    ("row", "error", "words"),
    [
        ((1.0, 2.0), ValueError, "the model takes 1 features, not 2"),
        ((math.nan,), ValueError, "a feature is NaN; an absent feature is given its neutral value"),
        ([1.0], TypeError, "a walker takes one tuple of numbers"),
        ((None,), TypeError, "must be real number"),
    ],
)
def test_an_invalid_row_is_refused(row: Any, error: type[Exception], words: str) -> None:  # noqa: ANN401
    with pytest.raises(error, match=words):
        walker_type()(1, *one_split())(row)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"roots": np.array([], dtype=np.int64)}, "the arrays are empty or differ in length"),
        ({"value": np.array([0, 10])}, "the arrays are empty or differ in length"),
        ({"roots": np.array([3])}, "a node index is outside the arrays"),
        ({"right": np.array([-7, -1, -1])}, "a node index is outside the arrays"),
        ({"feature": np.array([1, -1, -1], dtype=np.int16)}, "a split on a feature index beyond the feature count"),
        ({"left": np.array([0, -1, -1])}, "two links lead to one node"),
        ({"roots": np.array([0, 0])}, "two links lead to one node"),
    ],
)
def test_arrays_that_are_not_trees_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=f"these arrays are not valid trees: .*{words}"):
        walker_type()(1, *one_split(**changes))
