"""Exported boosted trees score like scikit-learn, for models of every shape and inputs at every threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from threadpoolctl import threadpool_limits

from flink_jobs.core.models.faults import ModelError
from flink_jobs.core.models.trees.arrays import LEAF
from flink_jobs.core.models.trees.boosting_scorer import compile_score
from flink_jobs.core.models.trees.checks import check_trees
from ml.gradient_boosting import export_boosting


def fit(seed: int, rows: int, columns: int, **parameters: Any) -> HistGradientBoostingClassifier:  # noqa: ANN401
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(rows, columns)).round(2)
    fraud = rng.random(rows) < 1.0 / (1.0 + np.exp(-inputs[:, -1]))
    inputs[:, 0] *= 1e6  # thresholds that float32 could not tell apart
    fraud[:2] = [True, False]
    chosen = {"max_iter": 8, "min_samples_leaf": 2, "early_stopping": False, "random_state": seed} | parameters
    with threadpool_limits(limits=1):  # many threads would wait for one another on a busy machine
        return HistGradientBoostingClassifier(**chosen).fit(inputs, fraud)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 2**31),
    st.integers(10, 300),
    st.integers(1, 5),
    st.sampled_from([2, 7, 31, 64]),
    st.floats(0.01, 1.0),
)
def test_probabilities_equal_scikit_learn(
    seed: int, rows: int, columns: int, leaves: int, learning_rate: float
) -> None:
    model = fit(seed, rows, columns, max_leaf_nodes=leaves, learning_rate=learning_rate)
    arrays = export_boosting(model)
    check_trees(arrays, columns)
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(60, columns)) * 3
    inputs[:, 0] *= 1e6
    for feature in range(columns):  # on thresholds, and one double to each side
        thresholds = arrays.threshold[arrays.feature == feature]
        if len(thresholds):
            exact = rng.choice(thresholds, 60)
            inputs[::2, feature] = rng.choice([exact, np.nextafter(exact, np.inf), np.nextafter(exact, -np.inf)])[::2]
    inputs[0], inputs[1] = np.inf, -np.inf
    score = compile_score(arrays, columns)
    ours = [score(tuple(row)) for row in inputs.tolist()]
    np.testing.assert_allclose(ours, model.predict_proba(inputs)[:, 1], rtol=0, atol=1e-13)


def test_nan_is_rejected_and_not_scored() -> None:
    """Training never has NaN: an absent feature has its neutral value in training and in serving."""
    score = compile_score(export_boosting(fit(1, 100, 2)), 2)
    with pytest.raises(ValueError, match="NaN"):
        score((0.0, float("nan")))
    with pytest.raises(ValueError, match="2 features"):
        score((0.0,))


def test_models_that_cannot_be_exported() -> None:
    with pytest.raises(NotFittedError):
        export_boosting(HistGradientBoostingClassifier())
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 4, (200, 2)).astype(float)
    three = HistGradientBoostingClassifier(max_iter=2).fit(inputs, np.arange(200) % 3)
    with pytest.raises(ValueError, match="3 classes"):
        export_boosting(three)
    kinds = HistGradientBoostingClassifier(max_iter=2, categorical_features=[0, 1]).fit(inputs, inputs[:, 0] == 2.0)
    with pytest.raises(ValueError, match="categorical"):
        export_boosting(kinds)
    with pytest.raises(ModelError):
        export_boosting(fit(1, 400, 2, max_leaf_nodes=65, min_samples_leaf=1, l2_regularization=0.0))


def test_leaves_are_marked_and_training_rows_are_counted() -> None:
    arrays = export_boosting(fit(3, 200, 2))
    assert (arrays.n_samples[arrays.tree_offsets[:-1]] == 200).all()
    assert (arrays.value[arrays.feature != LEAF] == 0.0).all()
