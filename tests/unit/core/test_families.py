"""Both families: boosted trees against a plain walk, contributions that add up to the score, calibration curves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_jobs.core.models.calibration import CURVE_RAW, CURVE_SCORE, compile_curve, rarity_curve
from flink_jobs.core.models.families import compile_model
from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.models.trees import walk as tree_walk
from flink_jobs.core.models.trees.arrays import LEAF, BoostingArrays
from flink_jobs.core.models.trees.boosting_scorer import compile_score, sigmoid
from flink_jobs.core.models.trees.checks import MAX_LEAVES, check_trees
from tests.unit.core.tree_models import FEATURE_COUNT, boosted, forests, rows

if TYPE_CHECKING:
    from flink_jobs.core.models.trees.arrays import TreeArrays

CURVE = {CURVE_RAW: np.array([0.1, 0.3, 0.5, 0.9]), CURVE_SCORE: np.array([0.0, 0.2, 0.3, 1.0])}


def walk(arrays: BoostingArrays, row: tuple[float, ...]) -> float:
    """Sum of the base and the leaves' values."""
    total = [float(arrays.base[0])]
    for start in arrays.tree_offsets[:-1].tolist():
        node = start
        while arrays.feature[node] != LEAF:
            goes_left = row[arrays.feature[node]] <= arrays.threshold[node]
            node = start + int((arrays.left if goes_left else arrays.right)[node])
        total.append(float(arrays.value[node]))
    return math.fsum(total)


@settings(max_examples=120)
@given(boosted, rows)
def test_boosted_trees_equal_a_walk_down_every_tree(
    arrays: BoostingArrays, given_rows: list[tuple[float, ...]]
) -> None:
    check_trees(arrays, FEATURE_COUNT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_walk, "_WALKER", None)
        score = compile_score(arrays, FEATURE_COUNT)
    for row in given_rows:
        assert score(row) == pytest.approx(sigmoid(walk(arrays, row)), abs=1e-13)


@pytest.mark.parametrize("curve", [{}, CURVE], ids=["raw", "calibrated"])
@settings(max_examples=120)
@given(st.one_of(forests, boosted), rows)
def test_base_and_contributions_add_up_to_the_score(
    curve: dict[str, Any],
    arrays: TreeArrays,
    given_rows: list[tuple[float, ...]],
) -> None:
    model = compile_model(arrays, curve, FEATURE_COUNT)
    for row in given_rows:
        score = model.score(row)
        contributions = model.contributions(row, score)
        assert len(contributions) == FEATURE_COUNT
        assert model.base + math.fsum(contributions) == pytest.approx(score, abs=1e-12)
        assert 0.0 <= score <= 1.0
        assert 0.0 <= model.base <= 1.0


@given(st.one_of(forests, boosted), rows)
def test_a_feature_without_splits_contributes_nothing(arrays: TreeArrays, given_rows: list[tuple[float, ...]]) -> None:
    model = compile_model(arrays, {}, FEATURE_COUNT)
    for feature in set(range(FEATURE_COUNT)) - set(arrays.feature.tolist()):
        for row in given_rows:
            assert model.contributions(row, model.score(row))[feature] == 0.0


def stump(**changes: object) -> BoostingArrays:
    """One split: feature 0 <= 1 has 30 rows and -1, the others are 10 rows and +2."""
    values = {
        "tree_offsets": np.array([0, 3], dtype="<i4"),
        "feature": np.array([0, -1, -1], dtype="<i2"),
        "threshold": np.array([1.0, 0.0, 0.0]),
        "left": np.array([1, -1, -1], dtype="<i4"),
        "right": np.array([2, -1, -1], dtype="<i4"),
        "n_samples": np.array([40, 30, 10], dtype="<i4"),
        "value": np.array([0.0, -1.0, 2.0]),
        "base": np.array([-3.0]),
    } | changes
    return BoostingArrays(**values)  # type: ignore[arg-type]


def test_a_contribution_by_hand() -> None:
    model = compile_model(stump(), {}, 2)
    assert model.base == pytest.approx(sigmoid(-3.0 + (30 * -1.0 + 10 * 2.0) / 40))
    score = model.score((5.0, 0.0))
    assert score == pytest.approx(sigmoid(-1.0))
    assert model.contributions((5.0, 0.0), score) == pytest.approx([score - model.base, 0.0])


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"value": np.array([0.0, np.nan, 2.0])}, ModelFault.BAD_ARRAYS),
        ({"value": np.array([0.0, np.inf, 2.0])}, ModelFault.BAD_ARRAYS),
        ({"value": np.array([0.0, 1e9, 2.0])}, ModelFault.BAD_ARRAYS),
        ({"base": np.array([np.nan])}, ModelFault.BAD_ARRAYS),
        ({"base": np.array([0.0, 1.0])}, ModelFault.BAD_ARRAYS),
        ({"value": np.array([0.0, 1.0])}, ModelFault.BAD_ARRAYS),
        ({"value": np.array([0, 1, 2], dtype="<i8")}, ModelFault.BAD_ARRAYS),
        ({"n_samples": np.array([40, 30, 11], dtype="<i4")}, ModelFault.BAD_TREE),
    ],
)
def test_arrays_that_are_not_boosted_trees_are_refused(changes: dict[str, object], fault: ModelFault) -> None:
    check_trees(stump(), 2)
    with pytest.raises(ModelError) as caught:
        check_trees(stump(**changes), 2)
    assert caught.value.reason is fault


def test_a_boosted_tree_with_too_many_leaves_is_refused() -> None:
    splits = MAX_LEAVES  # one leaf more than allowed
    inner = np.arange(splits)
    arrays = stump(
        tree_offsets=np.array([0, 2 * splits + 1], dtype="<i4"),
        feature=np.array([0, -1] * splits + [-1], dtype="<i2"),
        threshold=np.array([1.0, 0.0] * splits + [0.0]),
        left=np.array([item for node in inner for item in (2 * node + 1, -1)] + [-1], dtype="<i4"),
        right=np.array([item for node in inner for item in (2 * node + 2, -1)] + [-1], dtype="<i4"),
        n_samples=np.array([item for node in inner for item in (splits + 1 - node, 1)] + [1], dtype="<i4"),
        value=np.zeros(2 * splits + 1),
    )
    with pytest.raises(ModelError) as caught:
        check_trees(arrays, 1)
    assert caught.value.reason is ModelFault.TOO_LARGE


# ---- the calibration curve -----------------------------------------------------------------------------------


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=400))
def test_a_fitted_curve_rises_within_the_range(scores: list[float]) -> None:
    curve = compile_curve(rarity_curve(np.array(scores)))
    points = [0.0, *sorted(scores), 1.0]
    answers = [curve(point) for point in points]
    assert answers == sorted(answers)
    assert 0.0 <= answers[0] <= answers[-1] <= 1.0


@pytest.mark.parametrize(("one_in", "score"), [(2, 0.0753), (10, 0.25), (100, 0.5), (1_000, 0.75)])
def test_a_calibrated_score_measures_rarity(one_in: int, score: float) -> None:
    raw = np.linspace(0.3, 0.7, 100_000)
    curve = compile_curve(rarity_curve(raw))
    assert curve(float(np.quantile(raw, 1.0 - 1.0 / one_in))) == pytest.approx(score, abs=1e-3)


def test_between_its_points_a_curve_is_straight_and_beyond_them_flat() -> None:
    curve = compile_curve(CURVE)
    assert [curve(x) for x in (-1.0, 0.1, 0.2, 0.5, 0.7, 0.9, 2.0)] == pytest.approx([0, 0, 0.1, 0.3, 0.65, 1, 1])


@pytest.mark.parametrize(
    ("raw", "score"),
    [
        ([0.1], [0.0]),
        ([0.1, 0.2], [0.0]),
        ([0.2, 0.1], [0.0, 1.0]),
        ([0.1, 0.1], [0.0, 1.0]),
        ([0.1, 0.2], [1.0, 0.0]),
        ([0.1, 1.2], [0.0, 1.0]),
        ([0.1, 0.2], [0.0, np.nan]),
        ([0.1, np.nan], [0.0, 1.0]),
        ([-0.1, 0.2], [0.0, 1.0]),
    ],
)
def test_invalid_points_of_a_curve_are_refused(raw: list[float], score: list[float]) -> None:
    with pytest.raises(ModelError) as caught:
        compile_curve({CURVE_RAW: np.array(raw), CURVE_SCORE: np.array(score)})
    assert caught.value.reason is ModelFault.BAD_ARRAYS
