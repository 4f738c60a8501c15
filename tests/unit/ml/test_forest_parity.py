"""The exported forest scores like scikit-learn, for forests of every shape and inputs at every threshold."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError

from flink_jobs.core.models.faults import ModelError
from flink_jobs.core.models.trees.arrays import LEAF, arrays_digest
from flink_jobs.core.models.trees.checks import check_trees
from flink_jobs.core.models.trees.forest_scorer import compile_score
from ml.isolation_forest import export_forest

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE = 1e-12


def fit(inputs: NDArray[np.float64], **parameters: Any) -> IsolationForest:  # noqa: ANN401 - scikit-learn's own
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # max_samples above the number of rows
        return IsolationForest(**{"n_estimators": 10, "random_state": 0} | parameters).fit(inputs)


def largest_difference(model: IsolationForest, inputs: NDArray[np.float64]) -> float:
    score = compile_score(export_forest(model), inputs.shape[1])
    ours = np.array([score(tuple(row)) for row in inputs.tolist()])
    assert ((ours > 0.0) & (ours <= 1.0)).all()
    with np.errstate(over="ignore"):  # scikit-learn's own rounding of what is beyond float32
        theirs = -model.score_samples(inputs)
    return float(np.abs(ours - theirs).max())


def on_and_around_thresholds(model: IsolationForest, count: int, seed: int) -> NDArray[np.float64]:
    """Return rows whose values are thresholds, their neighbours as double or float32, or values half way between."""
    arrays = export_forest(model)
    width = model.n_features_in_
    rng = np.random.default_rng(seed)
    rows = np.zeros((count, width))
    for feature in range(width):
        thresholds = arrays.threshold[arrays.feature == feature]
        if not len(thresholds):
            continue
        exact = rng.choice(thresholds, count)
        single = exact.astype(np.float32)
        above, below = np.nextafter(single, np.float32(np.inf)), np.nextafter(single, np.float32(-np.inf))
        middle = (single.astype(np.float64) + above) / 2
        choices = np.stack(
            [
                exact, np.nextafter(exact, np.inf), np.nextafter(exact, -np.inf), single, above, below,
                middle, np.nextafter(middle, np.inf), np.nextafter(middle, -np.inf),
            ]
        )  # fmt: skip
        rows[:, feature] = choices[rng.integers(0, len(choices), count), np.arange(count)]
    return rows


def data(rows: int, seed: int, *, columns: int = 6) -> NDArray[np.float64]:
    """Return columns like those of the stream: heavy tails, counts, a flag, a constant."""
    rng = np.random.default_rng(seed)
    kinds = [
        rng.normal(size=rows), rng.poisson(1.0, rows) + 1.0, rng.random(rows), rng.lognormal(3.0, 2.0, rows),
        (rng.random(rows) < 0.02).astype(float), np.full(rows, 3.25),
    ]  # fmt: skip
    return np.column_stack([kinds[column % len(kinds)] for column in range(columns)])


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 400),
    columns=st.integers(1, 8),
    n_estimators=st.integers(1, 30),
    max_samples=st.sampled_from(["auto", 1, 2, 3, 16, 300, 0.5, 1.0]),
    max_features=st.sampled_from([1.0, 0.5, 0.2, 1]),
    bootstrap=st.booleans(),
    contamination=st.sampled_from(["auto", 0.05]),
    seed=st.integers(0, 2**31),
)
def test_random_forests(rows: int, columns: int, seed: int, **parameters: Any) -> None:  # noqa: ANN401
    if int(parameters["max_samples"] * rows if isinstance(parameters["max_samples"], float) else 1) < 1:
        parameters["max_samples"] = "auto"
    model = fit(data(rows, seed, columns=columns), random_state=seed % 1000, **parameters)
    check_trees(export_forest(model), columns)
    assert largest_difference(model, data(50, seed + 1, columns=columns)) <= TOLERANCE
    assert largest_difference(model, on_and_around_thresholds(model, 50, seed)) <= TOLERANCE


def test_the_production_shape_on_every_edge() -> None:
    model = fit(data(5_000, 1), n_estimators=100, max_samples=256)
    assert largest_difference(model, data(3_000, 2)) <= 1e-14
    assert largest_difference(model, on_and_around_thresholds(model, 5_000, 3)) <= 1e-14


def test_the_edges_are_really_on_edges() -> None:
    """The test above is effective: without rounding to float32, scores would differ."""
    model = fit(data(5_000, 1), n_estimators=100)
    rows = on_and_around_thresholds(model, 500, 3)
    arrays = export_forest(model)
    splits = arrays.feature != LEAF
    wrong = sum(
        ((row[arrays.feature[splits]] <= arrays.threshold[splits])
         != (row.astype(np.float32)[arrays.feature[splits]] <= arrays.threshold[splits])).any()
        for row in rows
    )  # fmt: skip
    assert wrong > 100


def test_values_beyond_float32() -> None:
    model = fit(data(500, 1, columns=2))
    values = [1e39, -1e39, 1e308, -1e308, np.inf, -np.inf, 3.4028235677973366e38, 3.4028235677973362e38, 1e-300, -0.0]
    assert largest_difference(model, np.array([(a, b) for a in values for b in values])) <= TOLERANCE


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e30, 3e38])
def test_data_at_the_ends_of_float32(scale: float) -> None:
    inputs = np.random.default_rng(0).random((200, 3)) * scale
    model = fit(inputs)
    assert largest_difference(model, np.vstack([inputs, on_and_around_thresholds(model, 200, 1)])) <= TOLERANCE


def test_rows_that_are_all_the_same() -> None:
    model = fit(np.full((50, 4), 2.5))
    assert export_forest(model).node_count == 10
    assert largest_difference(model, data(20, 1, columns=4)) <= TOLERANCE


def test_one_training_row() -> None:
    model = fit(np.ones((1, 2)))
    assert largest_difference(model, np.zeros((3, 2))) == 0.0
    assert -model.score_samples(np.zeros((1, 2)))[0] == 0.5


def test_a_forest_in_several_groups() -> None:
    """1,000 trees do not fit into one table."""
    model = fit(data(3_000, 1), n_estimators=600, max_samples=256)
    assert largest_difference(model, data(50, 2)) <= TOLERANCE


def test_the_same_training_gives_the_same_arrays() -> None:
    one, other = (export_forest(fit(data(500, 1), random_state=3)) for _ in range(2))
    assert arrays_digest(one.named()) == arrays_digest(other.named())
    assert arrays_digest(one.named()) != arrays_digest(export_forest(fit(data(500, 1), random_state=4)).named())


def test_an_unfitted_forest_is_rejected() -> None:
    with pytest.raises(NotFittedError):
        export_forest(IsolationForest())


def test_too_many_trees_are_rejected() -> None:
    with pytest.raises(ModelError, match="at most 1,000"):
        export_forest(fit(np.ones((2, 1)), n_estimators=1_001))
