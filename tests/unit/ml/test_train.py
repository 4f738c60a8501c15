"""Training is deterministic, measures on later rows only, and records its data in the manifest."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.manifest import feature_hash, is_model_version
from flink_jobs.core.models.model import build_model
from flink_jobs.errors import UserError
from ml import train as training
from ml.dataset import UNKNOWN
from ml.fitting import BOOSTING_INPUTS, FOREST_FLOORS, FOREST_INPUTS
from ml.measures import ranking
from ml.parameters import ModelFamily, TrainingParameters
from ml.splitting import split_by_time
from ml.thresholds import threshold_for
from ml.train import Provenance, TrainedModel, train_model
from tests.unit.ml.synthetic import dataset

SMALL = TrainingParameters(n_estimators=20, max_samples=64)
PROVENANCE = Provenance("cards.csv", "ab" * 32, "1.0", datetime(2026, 1, 1, tzinfo=UTC))


def trained(rows: int = 600, parameters: TrainingParameters = SMALL, seed: int = 0) -> TrainedModel:
    return train_model(dataset(rows, seed), parameters, PROVENANCE)


def test_the_same_rows_and_seed_give_the_same_model() -> None:
    one, other = trained(), trained()
    assert one.manifest == other.manifest
    assert one.arrays.digest() == other.arrays.digest()


@pytest.mark.parametrize("change", [{"seed": 8}, {"max_samples": 16}, {"n_estimators": 21}, {"train_fraction": 0.5}])
def test_other_parameters_give_another_model(change: dict[str, int]) -> None:
    other = trained(parameters=replace(SMALL, **change))  # type: ignore[arg-type]
    assert other.manifest.arrays_sha256 != trained().manifest.arrays_sha256
    assert other.manifest.version != trained().manifest.version


def test_labels_measure_and_never_train() -> None:
    labelled, blind = (train_model(dataset(600, labelled=flag), SMALL, PROVENANCE) for flag in (True, False))
    assert labelled.manifest.arrays_sha256 == blind.manifest.arrays_sha256
    assert {name for name in labelled.manifest.metrics if name not in blind.manifest.metrics} >= {
        "roc_auc",
        "alert_recall",
    }
    assert blind.manifest.metrics["labelled_rows"] == 0.0
    assert blind.manifest.training_data.labels_sha256 is None


def test_a_forest_scores_an_amount_below_its_floor_like_the_floor() -> None:
    model = trained()
    score = build_model(model.manifest, model.arrays).score_row
    usual = [0.0 if name in FOREST_FLOORS else 1.0 for name in FOREST_INPUTS]
    small = [-5.0 if name in FOREST_FLOORS else 1.0 for name in FOREST_INPUTS]
    large = [9.0 if name in FOREST_FLOORS else 1.0 for name in FOREST_INPUTS]
    assert score(tuple(small)) == score(tuple(usual)) < score(tuple(large))


def test_later_rows_do_not_reach_the_trees() -> None:
    rows = dataset(600)
    early, late = split_by_time(rows, SMALL.train_fraction)
    changed = rows.features.copy()
    changed[rows.event_time_ms >= late.event_time_ms.min()] += 100.0
    one, other = train_model(rows, SMALL, PROVENANCE), train_model(replace(rows, features=changed), SMALL, PROVENANCE)
    assert one.manifest.arrays_sha256 == other.manifest.arrays_sha256
    assert one.manifest.training_data == other.manifest.training_data
    assert one.manifest.training_data.rows == len(early)


def test_the_manifest_records_data_and_measures() -> None:
    manifest = trained().manifest
    assert manifest.feature_names == FOREST_INPUTS
    assert manifest.feature_hash == feature_hash(FOREST_INPUTS)
    assert set(manifest.neutral_values) == set(FOREST_INPUTS)
    assert manifest.reference is not None
    assert set(manifest.reference.bins) == {*FEATURE_NAMES, "score"}
    assert manifest.budget is None
    assert manifest.training_data.source_sha256 == "ab" * 32
    assert manifest.training_data.first_event_time_ms < manifest.training_data.last_event_time_ms
    assert manifest.created_at == "2026-01-01T00:00:00+00:00"
    assert manifest.parameters["seed"] == 7
    assert is_model_version(manifest.version)
    assert set(manifest.feature_quantiles) == set(FOREST_INPUTS)
    assert list(manifest.score_quantiles.values()) == sorted(manifest.score_quantiles.values())


def test_planted_outliers_are_found() -> None:
    metrics = trained(2_000).manifest.metrics
    assert metrics["roc_auc"] > 0.95
    assert metrics["average_precision"] > 5 * metrics["fraud_rate"]
    assert metrics["precision_at_top_1_percent"] > 0.8


def test_metrics_of_a_small_case_by_hand() -> None:
    metrics = ranking(np.array([0.9, 0.8, 0.7, 0.1, 0.5]), np.array([1, 0, 1, 0, -1], dtype=np.int8))
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
    metrics = ranking(np.array([0.9, 0.8]), np.full(2, label, dtype=np.int8))
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
    monkeypatch.setattr(training, "score_rows", lambda _model, rows: np.full(len(rows), 0.5))
    with pytest.raises(ArithmeticError, match="differs from scikit-learn"):
        trained()


# ---- gradient boosting ---------------------------------------------------------------------------------------

BOOSTED = replace(SMALL, kind=ModelFamily.GRADIENT_BOOSTING.value, label_delay_days=0.0, min_samples_leaf=5)


def test_boosting_learns_from_labels_and_records_their_number() -> None:
    one, other = trained(1_000, BOOSTED), trained(1_000, BOOSTED)
    assert one.arrays.digest() == other.arrays.digest()
    manifest = one.manifest
    assert (manifest.kind, manifest.feature_names) == ("gradient_boosting", (*BOOSTING_INPUTS, "category_rank"))
    assert manifest.training_data.labelled_rows == manifest.training_data.rows == 700
    assert manifest.metrics["roc_auc"] > 0.95
    assert "max_samples" not in manifest.parameters
    assert manifest.parameters["learning_rate"] == BOOSTED.learning_rate


def test_labels_that_were_not_known_yet_do_not_train() -> None:
    """Rows of the synthetic set are 0.2 s apart: 700 rows are 140 s."""
    rows = dataset(1_000)
    delayed = replace(BOOSTED, label_delay_days=20.0 / 86_400)
    early, late = split_by_time(rows, BOOSTED.train_fraction)
    too_young = (rows.event_time_ms > late.event_time_ms.min() - 20_000) & (
        rows.event_time_ms < late.event_time_ms.min()
    )
    flipped = replace(rows, labels=np.where(too_young, 1 - rows.labels, rows.labels).astype(np.int8))
    one, other = train_model(rows, delayed, PROVENANCE), train_model(flipped, delayed, PROVENANCE)
    assert one.manifest.arrays_sha256 == other.manifest.arrays_sha256
    assert 0 < one.manifest.training_data.labelled_rows == len(early) - too_young.sum() < len(early)
    assert train_model(flipped, BOOSTED, PROVENANCE).manifest.arrays_sha256 != one.manifest.arrays_sha256


@pytest.mark.parametrize("labels", [0, 1, UNKNOWN])
def test_boosting_needs_both_kinds_of_labels(labels: int) -> None:
    rows = replace(dataset(100), labels=np.full(100, labels, dtype=np.int8))
    with pytest.raises(UserError, match="boosting needs both"):
        train_model(rows, BOOSTED, PROVENANCE)


# ---- the alert budget ----------------------------------------------------------------------------------------


def test_the_budget_is_kept_and_recorded() -> None:
    manifest = trained(2_000, replace(SMALL, alerts_per_day=5_000.0)).manifest
    assert manifest.budget is not None
    seconds = 600 / 5
    assert 0 < manifest.metrics["alert_rate"] * 600 <= 5_000.0 / 24  # under an hour counts as one
    assert manifest.budget.threshold == manifest.metrics["alert_threshold"]
    assert seconds < 3_600


@pytest.mark.parametrize(("budget", "expected"), [(1.0, 0.9), (2.0, 0.9), (3.0, 0.5), (9.0, 0.1), (0.5, 1.0)])
def test_the_threshold_by_hand(budget: float, expected: float) -> None:
    """One day has the scores 0.9, 0.5, 0.5 and 0.1; equal scores are all alerts, or none of them is."""
    times = np.array([0, 1, 2, 86_400_000], dtype=np.int64)
    assert threshold_for(np.array([0.5, 0.9, 0.5, 0.1]), times, budget) == expected
