"""Training: deterministic, measured on later rows only, and honest about itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from flink_jobs.core.features import FEATURE_NAMES, NEUTRAL_VALUES
from flink_jobs.core.forest_arrays import arrays_digest
from flink_jobs.core.model_manifest import feature_hash, is_model_version
from flink_jobs.errors import UserError
from ml import train as training
from ml.dataset import split_by_time
from ml.parameters import TrainingParameters
from ml.train import Provenance, TrainedModel, measure, train_forest
from tests.unit.ml.synthetic import dataset

SMALL = TrainingParameters(n_estimators=20, max_samples=64)
PROVENANCE = Provenance("cards.csv", "ab" * 32, "1.0", datetime(2026, 1, 1, tzinfo=UTC))


def trained(rows: int = 600, parameters: TrainingParameters = SMALL, seed: int = 0) -> TrainedModel:
    return train_forest(dataset(rows, seed), parameters, PROVENANCE)


def test_the_same_rows_and_seed_give_the_same_model() -> None:
    one, other = trained(), trained()
    assert one.manifest == other.manifest
    assert arrays_digest(one.arrays) == arrays_digest(other.arrays)


@pytest.mark.parametrize("change", [{"seed": 8}, {"max_samples": 16}, {"n_estimators": 21}, {"train_fraction": 0.5}])
def test_other_parameters_give_another_model(change: dict[str, int]) -> None:
    other = trained(parameters=replace(SMALL, **change))  # type: ignore[arg-type]
    assert other.manifest.arrays_sha256 != trained().manifest.arrays_sha256
    assert other.manifest.version != trained().manifest.version


def test_labels_measure_and_never_train() -> None:
    labelled, blind = (train_forest(dataset(600, labelled=flag), SMALL, PROVENANCE) for flag in (True, False))
    assert labelled.manifest.arrays_sha256 == blind.manifest.arrays_sha256
    assert blind.manifest.metrics == {"rows": 180.0, "labelled_rows": 0.0}


def test_later_rows_do_not_reach_the_trees() -> None:
    rows = dataset(600)
    early, late = split_by_time(rows, SMALL.train_fraction)
    changed = rows.inputs.copy()
    changed[rows.event_time_ms >= late.event_time_ms.min()] += 100.0
    one, other = train_forest(rows, SMALL, PROVENANCE), train_forest(replace(rows, inputs=changed), SMALL, PROVENANCE)
    assert one.manifest.arrays_sha256 == other.manifest.arrays_sha256
    assert one.manifest.training_data == other.manifest.training_data
    assert one.manifest.training_data.rows == len(early)


def test_the_manifest_tells_the_story() -> None:
    manifest = trained().manifest
    assert manifest.feature_names == FEATURE_NAMES
    assert manifest.feature_hash == feature_hash(FEATURE_NAMES)
    assert list(manifest.neutral_values.values()) == list(NEUTRAL_VALUES)
    assert manifest.training_data.source_sha256 == "ab" * 32
    assert manifest.training_data.first_event_time_ms < manifest.training_data.last_event_time_ms
    assert manifest.created_at == "2026-01-01T00:00:00+00:00"
    assert manifest.parameters["seed"] == 7
    assert is_model_version(manifest.version)
    assert set(manifest.feature_quantiles) == set(FEATURE_NAMES)
    assert list(manifest.score_quantiles.values()) == sorted(manifest.score_quantiles.values())


def test_planted_outliers_are_found() -> None:
    metrics = trained(2_000).manifest.metrics
    assert metrics["roc_auc"] > 0.95
    assert metrics["average_precision"] > 5 * metrics["fraud_rate"]
    assert metrics["precision_at_top_1_percent"] > 0.8


def test_metrics_of_a_small_case_by_hand() -> None:
    metrics = measure(np.array([0.9, 0.8, 0.7, 0.1, 0.5]), np.array([1, 0, 1, 0, -1], dtype=np.int8))
    assert metrics == pytest.approx(
        {
            "rows": 5.0,
            "labelled_rows": 4.0,
            "fraud_rate": 0.5,
            "roc_auc": 0.75,
            "average_precision": (1 / 1 + 2 / 3) / 2,
            "precision_at_top_1_percent": 1.0,
        }
    )


@pytest.mark.parametrize("label", [0, 1])
def test_one_kind_of_label_gives_no_metric(label: int) -> None:
    metrics = measure(np.array([0.9, 0.8]), np.full(2, label, dtype=np.int8))
    assert set(metrics) == {"rows", "labelled_rows"}


def test_all_rows_may_train() -> None:
    manifest = trained(parameters=replace(SMALL, train_fraction=1.0)).manifest
    assert manifest.training_data.rows == 600
    assert manifest.metrics == {}


@pytest.mark.parametrize("rows", [2, 3, 10])
def test_few_rows_are_enough(rows: int) -> None:
    assert trained(rows).manifest.training_data.rows >= 1


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_say_so(rows: int) -> None:
    with pytest.raises(UserError, match=r"usable rows in cards\.csv"):
        trained(rows)


def test_an_export_that_differs_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "compile_score", lambda _arrays, _count: lambda _row: 0.5)
    with pytest.raises(ArithmeticError, match="differs from scikit-learn"):
        trained()
