"""The replay of merchants: no label leaks, a model with their inputs is trained offline and refused by the stream."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from flink_jobs.core.features.entity_risk import RISK_NAMES, SETTLE_MS, Entity, risk_at, risk_inputs, slot_of
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.models.model import OFFLINE_FEATURES, build_model, load_model
from flink_jobs.core.state.merchant import SLOT_MS, MerchantState
from flink_jobs.core.transaction import Transaction
from ml.artifact_writer import write_artifact
from ml.dataset import DAY_MS, FRAUD, GENUINE, UNKNOWN, Dataset, build_dataset
from ml.fitting import BOOSTING_INPUTS
from ml.merchant_risk import risk_column, with_merchant_risk
from ml.model_scores import input_rows, score_rows
from ml.parameters import ModelFamily, TrainingParameters
from ml.terminal_fraud import World, generate
from ml.train import Provenance, TrainedModel, train_model
from tests.unit.ml.terminal_events import NOW_MS, events_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BOOSTING = TrainingParameters(kind=ModelFamily.GRADIENT_BOOSTING.value, n_estimators=10, merchant_risk=True)
NAMES = RISK_NAMES[Entity.MERCHANT]
INPUTS = (*BOOSTING_INPUTS, *NAMES)
PROVENANCE = Provenance("cards.csv", None, "1.0", datetime(2026, 1, 1, tzinfo=UTC))


def values_of(dataset: Dataset) -> NDArray[np.float64]:
    assert dataset.merchant_risk is not None
    return dataset.merchant_risk


@pytest.fixture(scope="module")
def rows() -> Dataset:
    return build_dataset(events_of(generate(World(40, 60, 45, 3))), NOW_MS)


@pytest.fixture(scope="module")
def whole(rows: Dataset) -> Dataset:
    return with_merchant_risk(rows)


@pytest.fixture(scope="module")
def model(whole: Dataset) -> TrainedModel:
    return train_model(whole, BOOSTING, PROVENANCE)


def test_the_inputs_are_those_of_states_that_never_become_bytes(rows: Dataset, whole: Dataset) -> None:
    states: dict[str, MerchantState] = {}
    for row in range(len(rows)):
        merchant, time_ms, amount = rows.merchant.text(row), int(rows.event_time_ms[row]), float(rows.amount[row])
        assert merchant is not None
        state = states.setdefault(merchant, MerchantState())
        expected = risk_inputs(risk_at(state, slot_of(time_ms), 7), amount)
        served = [None if np.isnan(value) else value for value in values_of(whole)[row].tolist()]
        assert served == list(expected)
        state.update(time_ms, amount, 7)
        state.learn(row, time_ms, is_fraud=bool(rows.labels[row] == FRAUD))
    assert (values_of(whole)[:, NAMES.index("merchant_fraud_share_30d")] > 0).any()


def test_labels_that_are_younger_than_the_delay_change_nothing(rows: Dataset, whole: Dataset) -> None:
    """Turn every label of the last seven days before a moment: the inputs up to this moment stay as they are."""
    cut_ms = int(rows.event_time_ms[-1]) // SLOT_MS * SLOT_MS - 5 * DAY_MS
    young = rows.event_time_ms >= cut_ms - 7 * DAY_MS
    turned = replace(rows, labels=np.where(young, FRAUD - rows.labels, rows.labels).astype(np.int8))
    until = rows.event_time_ms < cut_ms + SLOT_MS + SETTLE_MS
    values = values_of(with_merchant_risk(turned))
    np.testing.assert_array_equal(values[until], values_of(whole)[until])
    assert not np.array_equal(values, values_of(whole), equal_nan=True), "the labels count when they are due"


def test_unknown_labels_count_as_genuine(rows: Dataset) -> None:
    unknown = replace(rows, labels=np.where(rows.labels == FRAUD, rows.labels, UNKNOWN).astype(np.int8))
    np.testing.assert_array_equal(values_of(with_merchant_risk(rows)), values_of(with_merchant_risk(unknown)))
    assert set(rows.labels.tolist()) == {GENUINE, FRAUD}


def test_a_row_without_a_merchant_gets_neutral_values(rows: Dataset) -> None:
    few = rows.where(np.arange(len(rows)) < 20)
    nobody = replace(few, merchant=replace(few.merchant, codes=np.full(len(few), -1, dtype=np.int32)))
    values = with_merchant_risk(nobody)
    assert np.isnan(values_of(values)).all()
    assert (risk_column(values, "merchant_amount_7d") == 0.0).all()


def test_a_model_takes_the_inputs_of_merchants_and_the_digest_of_the_rows_covers_them(
    rows: Dataset, whole: Dataset, model: TrainedModel
) -> None:
    assert model.manifest.feature_names == INPUTS
    assert model.manifest.parameters["merchant_risk"] is True
    assert set(NAMES) <= set(model.manifest.neutral_values)
    scores = score_rows(build_model(model.manifest, model.arrays, OFFLINE_FEATURES), whole)
    assert (scores[whole.labels == FRAUD].mean()) > scores[whole.labels == GENUINE].mean()
    assert rows.digest() != whole.digest()
    with pytest.raises(ValueError, match="with_merchant_risk"):
        input_rows(INPUTS, model.arrays.extras, rows)


def test_the_stream_refuses_a_model_with_inputs_of_merchants(model: TrainedModel, tmp_path: Path) -> None:
    directory = write_artifact(tmp_path, model.manifest, model.arrays)
    with pytest.raises(ModelError, match="the stream does not compute these inputs of merchant;") as refused:
        load_model(directory, FEATURE_NAMES)
    assert refused.value.reason is ModelFault.FEATURE_MISMATCH


def test_such_a_model_never_scores_a_transaction_with_zeros(model: TrainedModel) -> None:
    built = build_model(model.manifest, model.arrays, OFFLINE_FEATURES)
    vector = FeatureVector(*[0.0] * len(FEATURE_NAMES))
    with pytest.raises(ModelError, match="known for rows only"):
        built.score(vector, Transaction("t", "c", 100, "EUR", 1_750_000_000_000, "shop"))
