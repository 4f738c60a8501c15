"""The ranks of categories: by usual amount, without labels, served as they were trained."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.encodings import CATEGORY_KEY, CATEGORY_RANK, category_table_key
from flink_jobs.core.models.model import build_model, load_model
from ml.artifact_writer import write_artifact
from ml.columns import NOTHING, Coded
from ml.encodings import fit_categories
from ml.fitting import BOOSTING_INPUTS
from ml.model_scores import input_rows, score_rows
from ml.parameters import ModelFamily, TrainingParameters
from ml.train import Provenance, train_model
from tests.unit.ml.synthetic import dataset

if TYPE_CHECKING:
    from pathlib import Path

    from ml.dataset import Dataset

PROVENANCE = Provenance("cards.csv", None, "1.0", datetime(2026, 1, 1, tzinfo=UTC))
BOOSTING = TrainingParameters(kind=ModelFamily.GRADIENT_BOOSTING.value, n_estimators=20, label_delay_days=0.0)


def rows(*, fraud_in_food: bool = False) -> Dataset:
    """Return rows of three categories, and rows without one; travel is the dearest, fuel the cheapest."""
    plain = dataset(800, 3)
    codes = (np.arange(800) % 4 - 1).astype(np.int32)
    amount = np.array([5.0, 900.0, 40.0, 10.0])[codes + 1] + np.arange(800) % 7
    labels = np.where(codes == 1, 1, 0).astype(np.int8) if fraud_in_food else plain.labels
    return replace(plain, category=Coded(codes, ("travel", "food", "fuel")), amount=amount, labels=labels)


def test_categories_are_ranked_by_their_usual_amount() -> None:
    table = fit_categories(rows())
    ranks = dict(zip(table[CATEGORY_KEY].tolist(), table[CATEGORY_RANK].tolist(), strict=True))
    assert ranks == {category_table_key(name): rank for rank, name in enumerate(("fuel", "food", "travel"))}
    assert (np.diff(table[CATEGORY_KEY].astype(np.int64)) > 0).all()


def test_labels_do_not_change_the_ranks() -> None:
    for name, values in fit_categories(rows()).items():
        np.testing.assert_array_equal(values, fit_categories(rows(fraud_in_food=True))[name])


def test_only_the_most_frequent_categories_get_a_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.encodings.MAX_KEYS", 2)
    codes = np.array([0, 1, 1, 2, 2, NOTHING] * 100, dtype=np.int32)
    few = replace(rows().where(np.arange(800) < 600), category=Coded(codes, ("a", "b", "c")))
    assert set(fit_categories(few)[CATEGORY_KEY].tolist()) == {category_table_key("b"), category_table_key("c")}


def test_rows_without_a_category_have_no_such_input() -> None:
    none = replace(rows(), category=Coded(np.full(800, NOTHING, dtype=np.int32), ()))
    assert fit_categories(none) == {}
    assert train_model(none, BOOSTING, PROVENANCE).manifest.feature_names == BOOSTING_INPUTS


def test_a_model_learns_the_category_and_the_stream_serves_it(tmp_path: Path) -> None:
    data = rows(fraud_in_food=True)
    trained = train_model(data, BOOSTING, PROVENANCE)
    assert trained.manifest.feature_names == (*BOOSTING_INPUTS, "category_rank")
    served = load_model(write_artifact(tmp_path, trained.manifest, trained.arrays), FEATURE_NAMES)
    scores = score_rows(build_model(trained.manifest, trained.arrays), data)
    assert scores[data.labels == 1].min() > scores[data.labels == 0].max()
    inputs = input_rows(served.manifest.feature_names, served.extras, data)
    assert sorted(set(inputs[:, -1].tolist())) == [-1.0, 0.0, 1.0, 2.0]
    assert [served.score_row(tuple(row)) for row in inputs.tolist()] == scores.tolist()
