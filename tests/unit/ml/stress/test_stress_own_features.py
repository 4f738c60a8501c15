"""Own features under scenarios: each value is that of a full replay, or the reason why there is none is named."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from flink_jobs.core.models.model import OFFLINE_FEATURES, build_model
from flink_jobs.core.own_features.loading import load_features
from flink_jobs.core.own_features.source import FeatureSource, read_sources
from flink_jobs.core.own_features.values import OwnValues
from ml.blending import blend_rows
from ml.dataset import FRAUD, build_dataset
from ml.model_scores import score_rows
from ml.own_columns import OwnColumns, own_names
from ml.stress.changed_rows import ChangedRows
from ml.stress.period import period_of
from ml.stress.replay import SPEED
from ml.stress.sample import choose
from ml.stress.scenarios import SCENARIOS, Scenario
from ml.stress.stress_test import NO_LABELS, OWN_FEATURES, stress_test
from ml.train import train_model
from tests.own_features import EXAMPLE, FOLDER
from tests.unit.ml.stress.test_stress import BOOSTING, CONFIG, EVENTS, changed_events
from tests.unit.ml.terminal_events import NOW_MS
from tests.unit.ml.test_train import PROVENANCE

if TYPE_CHECKING:
    from flink_jobs.core.models.model import TreeModel
    from ml.dataset import Dataset

OPTIONS = 'unit="ratio", low=-1e9, high=1e9, neutral=0.0, absent="never", meaning="for a test"'
HELD = f"""
from flink_jobs.core.own_features import Customer, Transaction, feature

@feature({OPTIONS})
def ids(customer: Customer, transaction: Transaction) -> float | None:
    given = (transaction.merchant, transaction.terminal, transaction.device, transaction.card)
    return float(sum(map(len, filter(None, given))))

@feature({OPTIONS})
def multiples(customer: Customer, transaction: Transaction) -> float | None:
    return sum(customer.recent_multiples) + transaction.amount_minor + transaction.event_time_ms % 1e6

@feature({OPTIONS})
def seen(customer: Customer, transaction: Transaction) -> float | None:
    return customer.transactions / len(transaction.transaction_id + transaction.customer_id)
"""
NOT_HELD = f"""
from flink_jobs.core.own_features import Customer, Transaction, feature

@feature({OPTIONS})
def moved(customer: Customer, transaction: Transaction) -> float | None:
    return None if customer.location is None else 1.0

@feature({OPTIONS})
def dear_abroad(customer: Customer, transaction: Transaction) -> float | None:
    return 0.0 if transaction.amount_minor < LIMIT else float(transaction.country is None)

@feature({OPTIONS})
def fields(customer: Customer, transaction: Transaction) -> float | None:
    return float(sum(one is None for one in transaction))

@feature({OPTIONS})
def eighth(customer: Customer, transaction: Transaction) -> float | None:
    return transaction[7]
"""
CHANGED = [scenario for scenario in SCENARIOS if scenario.is_change]
FIRST = len(EVENTS) * 7 // 10


def own_values(*texts: str) -> OwnValues:
    given = [FeatureSource(f"bank{number}", text) for number, text in enumerate(texts)]
    return OwnValues(load_features([*read_sources([EXAMPLE], FOLDER), *given]))


def rows_with(*texts: str) -> Dataset:
    return build_dataset(EVENTS, NOW_MS, own=own_values(*texts))


def model_of(rows: Dataset) -> TreeModel:
    trained = train_model(rows, replace(BOOSTING, own_features=True), PROVENANCE)
    return build_model(trained.manifest, trained.arrays, (*OFFLINE_FEATURES, *own_names(rows.own)))


def columns_of(rows: Dataset) -> OwnColumns:
    assert rows.own is not None
    return rows.own


@pytest.fixture(scope="module")
def rows() -> Dataset:
    return rows_with(HELD)


@pytest.fixture(scope="module")
def judged(rows: Dataset) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.arange(len(rows)) >= FIRST


def fully_replayed(scenario: Scenario, rows: Dataset, seed: int) -> Dataset:
    """Return the judged rows of a replay of all events, those of the scenario changed."""
    period = period_of(rows, np.arange(FIRST, len(rows)))
    if scenario.change is not None:
        period = scenario.change(rows, period, np.random.default_rng([seed, SCENARIOS.index(scenario)]))
    events = changed_events(rows, period)
    start = FIRST if scenario.has_customers else 0
    whole = build_dataset(events if scenario.has_customers else events[FIRST:], NOW_MS, own=own_values(HELD))
    return whole.where(start + np.flatnonzero(~period.is_copy))


@pytest.mark.parametrize("scenario", CHANGED, ids=lambda scenario: scenario.name)
def test_each_own_feature_is_that_of_a_full_replay(
    scenario: Scenario, rows: Dataset, judged: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> None:
    expected = fully_replayed(scenario, rows, seed=1)
    found = dict(ChangedRows(rows, choose(rows, judged, 1), CONFIG, 7).all(seed=1))[scenario]
    assert not isinstance(found, str)
    assert columns_of(found).features.names == columns_of(rows).features.names
    np.testing.assert_array_equal(columns_of(found).values, columns_of(expected).values)
    assert not np.array_equal(columns_of(found).values, columns_of(rows.where(judged)).values, equal_nan=True)


def test_the_numbers_are_those_of_full_replays(
    rows: Dataset, judged: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> None:
    model = model_of(rows)
    results = stress_test(rows, judged, {"own": model}, CONFIG, delay_days=7, seed=1)["own"].results
    assert {one.name: one.not_computed for one in results if one.not_computed} == {
        "labels known 14 days later": NO_LABELS
    }
    late = rows.where(judged)
    for scenario, one in zip(SCENARIOS, results, strict=True):
        if scenario.is_change:
            changed = fully_replayed(scenario, rows, seed=1)
            # The rows do not hold their places: the speed stays, and goes with the place in one scenario only.
            if "without category" in scenario.name:
                continue
            changed.features[:, SPEED] = late.features[:, SPEED]
            blend, threshold = blend_rows(changed, score_rows(model, changed), CONFIG, model.own_blend)
            days = len(np.unique(late.event_time_ms // 86_400_000))
            assert one.alerts_per_day == pytest.approx((blend >= threshold).sum() / days)
            assert one.average_precision == pytest.approx(average_precision_score(late.labels == FRAUD, blend))


def test_features_that_read_more_than_the_rows_hold_are_named(
    judged: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> None:
    """One reads a country only for amounts that higher prices reach, and that no recorded purchase has."""
    limit = 1 + max(event.transaction["amount_minor"] for event in EVENTS[FIRST:])
    rows = rows_with(HELD, NOT_HELD.replace("LIMIT", str(limit)))
    found = dict(ChangedRows(rows, choose(rows, judged, 1), CONFIG, 7).all(seed=1))
    known = set(columns_of(rows_with(HELD)).features.names)
    for scenario in CHANGED:
        changed = found[scenario]
        assert not isinstance(changed, str)
        names = set(columns_of(changed).features.names)
        assert names - {"own_dear_abroad"} == known
        assert ("own_dear_abroad" in names) == (scenario.name != "amounts 20 % higher"), scenario.name
    reasons = stress_test(rows, judged, {"own": model_of(rows)}, CONFIG, delay_days=7, seed=1)["own"].results
    by_name = {one.name: one.not_computed for one in reasons}
    others = "own_eighth and own_fields and own_moved"
    assert by_name["amounts 20 % higher"] == OWN_FEATURES.format(names=f"own_dear_abroad and {others}")
    assert by_name["customers without history"] == OWN_FEATURES.format(names=others)
    assert by_name["as recorded"] is None


def test_features_with_other_recorded_values_are_named(
    rows: Dataset, judged: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> None:
    own = columns_of(rows)
    values = own.values.copy()
    values[-1, own.features.names.index("own_ids")] += 1.0
    changed = replace(rows, own=OwnColumns(own.features, values))
    found = dict(ChangedRows(changed, choose(rows, judged, 1), CONFIG, 7).all(seed=1))[CHANGED[0]]
    assert not isinstance(found, str)
    assert set(own.features.names) - set(columns_of(found).features.names) == {"own_ids"}
