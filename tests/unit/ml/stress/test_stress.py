"""The scenarios of a model card: changed purchases give what a replay of changed events gives, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from flink_jobs.cards.card_files import SourceEvent
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.models.model import OFFLINE_FEATURES, build_model
from ml.blending import blend_rows
from ml.dataset import FRAUD, UNKNOWN, build_dataset
from ml.entity_risk import ids_of, replayed, with_risk
from ml.measures import alerting
from ml.model_scores import score_rows
from ml.parameters import ModelFamily, TrainingParameters
from ml.stress import sample as sampling
from ml.stress.changed_rows import OTHER_FEATURES, ChangedRows
from ml.stress.histories import Bought, entity_inputs
from ml.stress.period import Period, period_of
from ml.stress.replay import SPEED
from ml.stress.result import StressTest
from ml.stress.sample import choose
from ml.stress.scenarios import (
    NEW_CATEGORY,
    SCENARIOS,
    Impossible,
    Scenario,
    absent_fields,
    foreign_currency,
    higher_prices,
    new_category,
    twice_the_purchases,
)
from ml.stress.stress_test import NO_LABELS, OTHER_HISTORIES, stress_test
from ml.terminal_fraud import World, generate
from ml.train import train_model
from tests.unit.ml.terminal_events import NOW_MS, events_with_ids
from tests.unit.ml.test_train import PROVENANCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.core.models.model import TreeModel
    from ml.dataset import Dataset

CONFIG = DetectionConfig()
BOTH = (Entity.TERMINAL, Entity.CARD)
BOOSTING = TrainingParameters(
    kind=ModelFamily.GRADIENT_BOOSTING.value, n_estimators=10, min_samples_leaf=5, label_delay_days=0.0
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
CHANGES = [scenario for scenario in SCENARIOS if scenario.change is not None]


def card_events() -> list[SourceEvent]:
    """Return purchases of 50 days with categories and, for four in five, a place."""
    made = []
    for number, event in enumerate(events_with_ids(generate(World(30, 800, 50, 3)), terminals_per_merchant=40)):
        transaction: dict[str, Any] = {**event.transaction}
        if number % 6:
            transaction["category"] = f"k{number % 7}"
        if number % 5:
            transaction["location"] = {"lat": 45.0 + number % 3, "lon": 7.0}
        made.append(replace(event, transaction=transaction))
    return made


EVENTS = card_events()


@pytest.fixture(scope="module")
def rows() -> Dataset:
    return with_risk(build_dataset(EVENTS, NOW_MS), BOTH)


@pytest.fixture(scope="module")
def judged(rows: Dataset) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.arange(len(rows)) >= len(rows) * 7 // 10


@pytest.fixture(scope="module")
def models(rows: Dataset) -> dict[str, TreeModel]:
    made = {}
    for name, entities in (("plain", ()), ("terminal", BOTH[:1])):
        trained = train_model(rows, replace(BOOSTING, risk_entities=entities), PROVENANCE)
        made[name] = build_model(trained.manifest, trained.arrays, OFFLINE_FEATURES)
    return made


def changed_events(rows: Dataset, period: Period) -> list[SourceEvent]:
    """Return the events before a period, and those of its purchases."""
    made = EVENTS[: int(period.row.min())]
    for place, row in enumerate(period.row.tolist()):
        transaction = {**EVENTS[row].transaction}
        now = period.transaction(rows, place)
        transaction |= {"amount_minor": now.amount_minor, "currency": now.currency, "event_time_ms": now.event_time_ms}
        transaction |= {"category": now.category}
        transaction |= {entity.value: ids_of(rows, entity)[np.array([row])].text(0) for entity in Entity}
        for entity in Entity:
            if period.ids[entity][place] < 0:
                transaction[entity.value] = None
        if not period.has_place[place] or period.is_copy[place]:
            transaction.pop("location", None)
        if period.is_copy[place]:
            transaction["transaction_id"] += "-again"
        given = {key: value for key, value in transaction.items() if value is not None}
        made.append(SourceEvent(given, label=EVENTS[row].label and not period.is_copy[place], pattern=None))
    return made


@pytest.mark.parametrize("scenario", CHANGES, ids=lambda scenario: scenario.name)
def test_a_change_gives_what_a_replay_of_changed_events_gives(
    scenario: Scenario, rows: Dataset, judged: np.ndarray[Any, np.dtype[np.bool_]]
) -> None:
    sample = choose(rows, judged, seed=1)
    whole = period_of(rows, np.arange(sample.first, len(rows)))
    assert scenario.change is not None
    number = SCENARIOS.index(scenario)
    period = scenario.change(rows, whole, np.random.default_rng([1, number]))
    expected = with_risk(build_dataset(changed_events(rows, period), NOW_MS), BOTH)
    originals = expected.where(sample.first + np.flatnonzero(~period.is_copy))
    found = dict(ChangedRows(rows, sample, CONFIG, 7).all(seed=1))[scenario]
    assert not isinstance(found, str)
    assert found.transaction_ids.tolist() == originals.transaction_ids.tolist()
    columns = np.arange(found.features.shape[1]) != SPEED  # the rows do not hold their places
    np.testing.assert_array_equal(found.features[:, columns], originals.features[:, columns])
    np.testing.assert_array_equal(found.amount, originals.amount)
    for name in ("currency", "category", "merchant"):
        one, other = getattr(found, name), getattr(originals, name)
        assert [one.text(row) for row in range(len(one))] == [other.text(row) for row in range(len(other))]
    assert found.risk is not None
    assert originals.risk is not None
    np.testing.assert_array_equal(found.risk.values, originals.risk.values)


def test_the_speed_is_kept_but_not_for_a_purchase_without_its_place(
    rows: Dataset, judged: np.ndarray[Any, np.dtype[np.bool_]]
) -> None:
    late = rows.where(judged).features[:, SPEED]
    assert (late > 0).any()
    found = dict(ChangedRows(rows, choose(rows, judged, 1), CONFIG, 7).all(seed=1))
    higher, absent = (found[scenario] for scenario in CHANGES if scenario.change in {higher_prices, absent_fields})
    assert not isinstance(higher, str)
    assert not isinstance(absent, str)
    np.testing.assert_array_equal(higher.features[:, SPEED], late)
    kept = ~np.isnan(absent.features[:, SPEED])
    assert 0.3 < kept[~np.isnan(late)].mean() < 0.7
    np.testing.assert_array_equal(absent.features[kept, SPEED], late[kept])


def test_customers_without_history_have_the_features_of_a_stream_that_begins_there(
    rows: Dataset, judged: np.ndarray[Any, np.dtype[np.bool_]]
) -> None:
    found = dict(ChangedRows(rows, choose(rows, judged, 1), CONFIG, 7).all(seed=1))[
        BY_NAME["customers without history"]
    ]
    assert not isinstance(found, str)
    expected = build_dataset(EVENTS[int(np.flatnonzero(judged)[0]) :], NOW_MS)
    columns = np.arange(found.features.shape[1]) != SPEED
    np.testing.assert_array_equal(found.features[:, columns], expected.features[:, columns])
    np.testing.assert_array_equal(found.risk.values, rows.where(judged).risk.values)  # type: ignore[union-attr]


@pytest.mark.parametrize("delay_days", [0, 7, 21])
@pytest.mark.parametrize("entity", Entity)
def test_histories_by_sorting_are_those_of_the_replay(entity: Entity, delay_days: int, rows: Dataset) -> None:
    bought = Bought(ids_of(rows, entity).codes, rows.event_time_ms, rows.amount, rows.labels == FRAUD)
    few = np.arange(5, len(rows), 3)
    asked = Bought(*(column[few] for column in bought))
    expected = replayed(rows, entity, delay_days)
    assert np.nansum(expected[few, 3::4]) > 0, "known frauds"
    np.testing.assert_array_equal(entity_inputs(entity, bought, asked, delay_days), expected[few])


def test_without_purchases_there_is_no_history() -> None:
    none = Bought(np.array([], np.int32), np.array([], np.int64), np.array([]), np.array([], np.bool_))
    asked = Bought(np.array([0, -1], np.int32), np.array([NOW_MS, NOW_MS]), np.array([5.0, 5.0]), np.zeros(2, np.bool_))
    first, second = entity_inputs(Entity.CARD, none, asked, 7).tolist()
    assert np.array(first)[[0, 2, 3]].tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(first[1])
    assert np.isnan(second).all()


def results(test: StressTest) -> dict[str, Any]:
    return {one.name: one for one in test.results}


def test_without_a_change_the_numbers_are_those_of_the_judged_rows(
    rows: Dataset, judged: np.ndarray[Any, np.dtype[np.bool_]], models: dict[str, TreeModel]
) -> None:
    found = stress_test(rows, judged, models, CONFIG, delay_days=7, seed=1)
    late = rows.where(judged)
    for name, model in models.items():
        blend, threshold = blend_rows(late, score_rows(model, late), CONFIG, model.own_blend)
        measured, first = alerting(blend, late.labels, threshold), found[name].results[0]
        assert (found[name].rows, first.name, first.score_change) == (len(late), "as recorded", 0.0)
        days = len(np.unique(late.event_time_ms // 86_400_000))
        assert first.alerts_per_day == pytest.approx((blend >= threshold).sum() / days)
        assert (first.precision, first.recall) == pytest.approx((measured["alert_precision"], measured["alert_recall"]))
        assert first.average_precision == pytest.approx(average_precision_score(late.labels == FRAUD, blend))
        alone = results(found[name])["no model, or histories not ready: rules alone"]
        assert alone.average_precision == pytest.approx(average_precision_score(late.labels == FRAUD, late.rule_score))
    assert stress_test(rows, judged, models, CONFIG, delay_days=7, seed=1) == found


def test_later_labels_change_models_with_histories_only(
    rows: Dataset, judged: np.ndarray[Any, np.dtype[np.bool_]], models: dict[str, TreeModel]
) -> None:
    found = stress_test(rows, judged, models, CONFIG, delay_days=7, seed=1)
    name = "labels known 14 days later"
    assert results(found["plain"])[name].not_computed == NO_LABELS
    late = with_risk(rows, BOTH, 21).where(judged)
    model = models["terminal"]
    blend, _ = blend_rows(late, score_rows(model, late), CONFIG, model.own_blend)
    assert results(found["terminal"])[name].average_precision == pytest.approx(
        average_precision_score(late.labels == FRAUD, blend)
    )
    assert results(found["terminal"])[name].score_change != 0.0


def test_a_sample_stands_for_all_judged_rows(
    rows: Dataset, judged: np.ndarray[Any, np.dtype[np.bool_]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (choose(rows, judged, 1).weights[rows.customer.codes[judged]] == 1.0).all(), "all customers fit"
    monkeypatch.setattr(sampling, "PERIOD_ROWS", 300)
    few = choose(rows, judged, 1)
    codes = rows.customer.codes
    assert 0 < few.customers.sum() < len(rows.customer.names)
    assert few.weights[codes[few.judged]].sum() == pytest.approx(judged.sum())
    fraud = np.isin(codes, codes[judged & (rows.labels == FRAUD)])
    assert few.weights[codes[few.judged & fraud]].sum() == pytest.approx((judged & fraud).sum())
    assert not np.array_equal(choose(rows, judged, 2).customers, few.customers)


def test_rows_whose_history_is_missing_have_no_changed_features(
    rows: Dataset, judged: np.ndarray[Any, np.dtype[np.bool_]], models: dict[str, TreeModel]
) -> None:
    cut = slice(len(rows) // 3, None)
    part, late = rows.where(np.arange(len(rows))[cut]), judged[cut]
    found = stress_test(part, late, models, CONFIG, delay_days=7, seed=1)
    for scenario in SCENARIOS:
        one = results(found["terminal"])[scenario.name]
        expected = OTHER_FEATURES if scenario.is_change else OTHER_HISTORIES if scenario.later_labels else None
        assert one.not_computed == expected
        assert (one.alerts_per_day is None) == (expected is not None)


@pytest.mark.parametrize(
    ("column", "change", "reason"),
    [("currency", foreign_currency, "euros or dollars"), ("category", new_category, "has a category")],
)
def test_a_change_that_the_rows_do_not_allow_is_named(
    rows: Dataset, column: str, change: Callable[..., Period], reason: str
) -> None:
    kept = getattr(rows, column)
    other = replace(kept, names=("JPY",)) if column == "currency" else replace(kept, codes=np.full_like(kept.codes, -1))
    changed = replace(rows, **{column: other})
    with pytest.raises(Impossible, match=reason):
        change(changed, period_of(changed, np.arange(5)), np.random.default_rng(1))


def test_the_changes_are_what_their_names_say(rows: Dataset) -> None:
    whole, rng = period_of(rows, np.arange(len(rows) // 2, len(rows))), np.random.default_rng(1)
    assert higher_prices(rows, whole, rng).amount.sum() == pytest.approx(1.2 * whole.amount.sum(), rel=1e-4)
    foreign = foreign_currency(rows, whole, rng)
    dollars = np.array(foreign.currency.names)[foreign.currency.codes] == "USD"
    assert 0.2 < dollars.mean() < 0.3
    np.testing.assert_allclose(foreign.amount[dollars], 1.1 * whole.amount[dollars], atol=0.006)
    new = new_category(rows, whole, rng)
    share = np.array([new.category.text(place) == NEW_CATEGORY for place in range(len(new))])
    assert 0.1 < share.mean() < 0.25
    twice = twice_the_purchases(rows, whole, rng)
    assert twice.is_copy.sum() == (rows.labels[whole.row] != FRAUD).sum()
    assert twice.row[~twice.is_copy].tolist() == whole.row.tolist()
    assert (np.diff(twice.time_ms) >= 0).all()
    unlabelled = replace(rows, labels=np.full(len(rows), UNKNOWN, dtype=np.int8))
    assert twice_the_purchases(unlabelled, whole, rng).is_copy.sum() == len(whole)
