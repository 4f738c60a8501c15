"""The replay of entities: no label leaks, it equals the core and numpy, and a model with their inputs is trained."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from flink_jobs.core.features.entity_risk import (
    RISK_NAMES,
    SETTLE_MS,
    WINDOW_DAYS,
    Entity,
    risk_at,
    risk_inputs,
    slot_of,
)
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.models.model import OFFLINE_FEATURES, build_model, load_model
from flink_jobs.core.state.merchant import LOG_UNIT, SLOT_MS, MerchantState, log_units
from flink_jobs.core.transaction import Transaction
from flink_jobs.errors import UserError
from ml.artifact_writer import write_artifact
from ml.columns import NOTHING
from ml.dataset import DAY_MS, FRAUD, GENUINE, UNKNOWN, Dataset, build_dataset
from ml.entity_risk import RiskReplay, ids_of, with_risk, without_ids
from ml.evaluation.training import train_contenders
from ml.fitting import BOOSTING_INPUTS
from ml.model_scores import input_rows, score_rows
from ml.parameters import ModelFamily, TrainingParameters
from ml.row_choice import chosen_rows, read_excluded
from ml.terminal_fraud import World, generate
from ml.train import Provenance, TrainedModel, train_model
from tests.unit.ml.terminal_events import NOW_MS, events_of, events_with_ids, push

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CHOSEN = (Entity.MERCHANT, Entity.TERMINAL)
BOOSTING = TrainingParameters(kind=ModelFamily.GRADIENT_BOOSTING.value, n_estimators=10, risk_entities=CHOSEN)
INPUTS = (*BOOSTING_INPUTS, *RISK_NAMES[Entity.MERCHANT], *RISK_NAMES[Entity.TERMINAL])
PROVENANCE = Provenance("cards.csv", None, "1.0", datetime(2026, 1, 1, tzinfo=UTC))


def values_of(dataset: Dataset) -> NDArray[np.float64]:
    assert dataset.risk is not None
    return dataset.risk.values


def block_of(dataset: Dataset, entity: Entity) -> NDArray[np.float64]:
    assert dataset.risk is not None
    return dataset.risk.values[:, [dataset.risk.names.index(name) for name in RISK_NAMES[entity]]]


@pytest.fixture(scope="module")
def rows() -> Dataset:
    return build_dataset(events_with_ids(generate(World(40, 60, 45, 3))), NOW_MS)


@pytest.fixture(scope="module")
def whole(rows: Dataset) -> Dataset:
    return with_risk(rows, tuple(reversed(Entity)))


@pytest.fixture(scope="module")
def model(whole: Dataset) -> TrainedModel:
    return train_model(whole, BOOSTING, PROVENANCE)


def test_the_columns_of_all_entities_are_in_canonical_order(whole: Dataset) -> None:
    assert whole.risk is not None
    assert whole.risk.entities == tuple(Entity)
    assert whole.risk.names == tuple(name for entity in Entity for name in RISK_NAMES[entity])
    assert values_of(whole).shape == (len(whole), 48)


@pytest.mark.parametrize("entity", Entity)
def test_the_inputs_are_those_of_states_that_never_become_bytes(entity: Entity, rows: Dataset, whole: Dataset) -> None:
    states: dict[str, MerchantState] = {}
    for row, served in enumerate(block_of(whole, entity).tolist()):
        name, time_ms, amount = ids_of(rows, entity).text(row), int(rows.event_time_ms[row]), float(rows.amount[row])
        if name is None:
            assert np.isnan(served).all()
            continue
        state = states.setdefault(name, MerchantState())
        expected = risk_inputs(risk_at(state, slot_of(time_ms), 7), amount)
        assert [None if np.isnan(value) else value for value in served] == list(expected)
        state.update(time_ms, amount, 7)
        state.learn(row, time_ms, is_fraud=bool(rows.labels[row] == FRAUD))
    assert len(states) > 3
    assert (block_of(whole, entity)[:, RISK_NAMES[entity].index(f"{entity}_fraud_share_30d")] > 0).any()


@pytest.mark.parametrize("entity", Entity)
def test_the_inputs_are_those_of_numpy(entity: Entity, rows: Dataset, whole: Dataset) -> None:
    """Count with masks over all rows, without a state and without slots of transactions."""
    codes, times, fraud = ids_of(rows, entity).codes, rows.event_time_ms, rows.labels == FRAUD
    logs = np.array([log_units(amount) for amount in rows.amount.tolist()])
    for row in range(5, len(rows), 37):
        if codes[row] == NOTHING:
            continue
        end = (times[row] - SETTLE_MS) // SLOT_MS * SLOT_MS
        expected: list[float] = []
        for days in WINDOW_DAYS:
            same = codes == codes[row]
            now = same & (times >= end - days * DAY_MS) & (times < end)
            due = same & (times >= end - (days + 7) * DAY_MS) & (times < end - 7 * DAY_MS)
            distance = (logs[row] - logs[now].mean()) / LOG_UNIT if now.any() else np.nan
            share = fraud[due].mean() if due.any() else 0.0
            expected += [now.sum(), distance, due.sum(), share]
        np.testing.assert_allclose(block_of(whole, entity)[row], expected, rtol=1e-12, atol=1e-12)


def test_an_entity_has_the_same_inputs_alone_and_with_others(rows: Dataset, whole: Dataset) -> None:
    for entity in Entity:
        np.testing.assert_array_equal(values_of(with_risk(rows, (entity,))), block_of(whole, entity))


def test_the_replay_by_transaction_gives_the_inputs_of_the_rows(rows: Dataset, whole: Dataset) -> None:
    replay = RiskReplay((Entity.CARD, Entity.MERCHANT))
    assert replay.entities == (Entity.MERCHANT, Entity.CARD)
    for row, transaction in enumerate(rows.transactions()):
        for entity in replay.entities:
            served = [np.nan if value is None else value for value in replay.inputs(entity, transaction)]
            np.testing.assert_array_equal(served, block_of(whole, entity)[row])
        push(replay, transaction, is_fraud=bool(rows.labels[row] == FRAUD))
    last = next(rows.where(np.array([len(rows) - 1])).transactions())
    assert replay.inputs(Entity.MERCHANT, last)[8] != 0.0


def test_labels_that_are_younger_than_the_delay_change_nothing(rows: Dataset, whole: Dataset) -> None:
    """Turn every label of the last seven days before a moment: the inputs up to this moment stay as they are."""
    cut_ms = int(rows.event_time_ms[-1]) // SLOT_MS * SLOT_MS - 5 * DAY_MS
    young = rows.event_time_ms >= cut_ms - 7 * DAY_MS
    turned = replace(rows, labels=np.where(young, FRAUD - rows.labels, rows.labels).astype(np.int8))
    until = rows.event_time_ms < cut_ms + SLOT_MS + SETTLE_MS
    values = values_of(with_risk(turned, tuple(Entity)))
    np.testing.assert_array_equal(values[until], values_of(whole)[until])
    assert not np.array_equal(values, values_of(whole), equal_nan=True), "the labels count when they are due"


def test_unknown_labels_count_as_genuine(rows: Dataset) -> None:
    unknown = replace(rows, labels=np.where(rows.labels == FRAUD, rows.labels, UNKNOWN).astype(np.int8))
    np.testing.assert_array_equal(values_of(with_risk(rows, CHOSEN)), values_of(with_risk(unknown, CHOSEN)))
    assert set(rows.labels.tolist()) == {GENUINE, FRAUD}


def test_a_row_without_an_id_gets_neutral_values(rows: Dataset) -> None:
    few = rows.where(np.arange(len(rows)) < 20)
    assert without_ids(few, tuple(Entity)) == ()
    nobody = replace(few, terminal=replace(few.terminal, codes=np.full(len(few), NOTHING, dtype=np.int32)))
    assert without_ids(nobody, tuple(Entity)) == (Entity.TERMINAL,)
    values = with_risk(nobody, (Entity.TERMINAL,))
    assert np.isnan(values_of(values)).all()
    assert values.risk is not None
    assert (values.risk.column("terminal_amount_7d") == 0.0).all()
    with pytest.raises(ValueError, match="'card_due_1d' needs a data set from with_risk with its entity"):
        values.risk.column("card_due_1d")


def test_a_model_takes_the_inputs_of_its_entities_only(rows: Dataset, whole: Dataset, model: TrainedModel) -> None:
    assert model.manifest.feature_names == INPUTS
    assert model.manifest.parameters["risk_entities"] == "merchant,terminal"
    assert set(RISK_NAMES[Entity.TERMINAL]) <= set(model.manifest.neutral_values)
    scores = score_rows(build_model(model.manifest, model.arrays, OFFLINE_FEATURES), whole)
    assert (scores[whole.labels == FRAUD].mean()) > scores[whole.labels == GENUINE].mean()
    with pytest.raises(ValueError, match="with_risk"):
        input_rows(INPUTS, model.arrays.extras, rows)
    assert "risk_entities" not in replace(BOOSTING, risk_entities=()).relevant()


def test_the_digest_covers_ids_and_inputs_and_old_digests_stay(rows: Dataset, whole: Dataset) -> None:
    nothing = replace(rows.terminal, codes=np.full(len(rows), NOTHING, dtype=np.int32))
    plain = replace(rows, terminal=nothing, device=nothing, card=nothing)
    variants = [plain, *(replace(plain, **{name: getattr(rows, name)}) for name in ("terminal", "device", "card"))]
    variants += [rows, with_risk(rows, (Entity.MERCHANT,)), whole]
    assert len({variant.digest() for variant in variants}) == len(variants)
    few = build_dataset(events_of(generate(World(10, 20, 5, 3))), NOW_MS)
    assert few.digest() == "1dccbf522e61e49a228e2cc5ad841f5b638ff488babbbefe80e1d96bee653ee1"
    assert (
        with_risk(few, (Entity.MERCHANT,)).digest()
        == "85605ca582d4e86cefa6a9cb0c7c42b9eab28b3d0baa8996261e95d6ecde8971"
    )


def test_an_evaluation_compares_each_entity_alone_and_all_together(rows: Dataset) -> None:
    parameters = replace(BOOSTING, n_estimators=3)
    both = train_contenders(with_risk(rows, CHOSEN), parameters, PROVENANCE)
    assert list(both) == ["forest", "challenger", "merchant", "terminal", "merchant-terminal"]
    assert both["merchant-terminal"].manifest.feature_names == INPUTS
    assert both["challenger"].manifest.feature_names == BOOSTING_INPUTS
    alone = train_contenders(with_risk(rows, (Entity.TERMINAL,)), parameters, PROVENANCE)
    assert list(alone) == ["forest", "challenger", "terminal"]
    assert alone["terminal"].digest == both["terminal"].digest


def test_the_stream_refuses_a_model_with_inputs_of_an_entity_without_history(
    model: TrainedModel, tmp_path: Path
) -> None:
    directory = write_artifact(tmp_path, model.manifest, model.arrays)
    known = (*FEATURE_NAMES, *RISK_NAMES[Entity.MERCHANT])
    with pytest.raises(ModelError, match="the stream does not compute these inputs of terminal") as refused:
        load_model(directory, known)
    assert refused.value.reason is ModelFault.FEATURE_MISMATCH


def test_a_manifest_of_the_first_release_with_merchants_stays_readable(whole: Dataset, tmp_path: Path) -> None:
    trained = train_model(whole, replace(BOOSTING, risk_entities=(Entity.MERCHANT,)), PROVENANCE)
    parameters = {name: value for name, value in trained.manifest.parameters.items() if name != "risk_entities"}
    old = replace(trained.manifest, parameters=parameters | {"merchant_risk": True})
    read = load_model(write_artifact(tmp_path, old, trained.arrays), OFFLINE_FEATURES)
    assert read.manifest.parameters["merchant_risk"] is True
    assert read.manifest.feature_names[-12:] == RISK_NAMES[Entity.MERCHANT]


def test_such_a_model_never_scores_a_transaction_with_zeros(model: TrainedModel) -> None:
    built = build_model(model.manifest, model.arrays, OFFLINE_FEATURES)
    vector = FeatureVector(*[0.0] * len(FEATURE_NAMES))
    with pytest.raises(ModelError, match="known for rows only"):
        built.score(vector, Transaction("t", "c", 100, "EUR", 1_750_000_000_000, "shop"))


def test_rows_of_listed_cards_are_left_out(tmp_path: Path) -> None:
    whole = build_dataset(events_with_ids(generate(World(20, 60, 6, 2))), NOW_MS)
    listed = tmp_path / "cards.txt"
    cards = whole.card.names[:2]
    listed.write_text("\n".join([*cards, "# no more"]))
    few = chosen_rows(whole, None, cards=read_excluded(listed, "card"))
    kept = [row for row in range(len(whole)) if whole.card.text(row) not in cards]
    assert 0 < len(kept) < len(whole)
    assert few.transaction_ids.tolist() == whole.transaction_ids[kept].tolist()
    assert None in {few.card.text(row) for row in range(len(few))}, "rows without a card stay"
    listed.write_text("token-99\n")
    with pytest.raises(UserError, match="none of the cards of --exclude-cards"):
        chosen_rows(whole, None, cards=read_excluded(listed, "card"))
    listed.write_text("")
    with pytest.raises(UserError, match="names no card"):
        read_excluded(listed, "card")
