"""The threshold with the lowest cost, and the table of thresholds: brute force over every threshold is the oracle."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.models.faults import ModelError
from flink_jobs.core.models.manifest import parse_manifest
from flink_jobs.core.models.threshold_choice import ThresholdRule, parse_threshold_choice
from flink_jobs.errors import UserError
from ml.blending import best_blend, blended
from ml.columns import Coded
from ml.threshold_table import cheapest_threshold, threshold_table
from ml.thresholds import days_in
from ml.train import train_model
from tests.unit.ml.synthetic import dataset
from tests.unit.ml.test_blending import FOREST, rows_with_rules
from tests.unit.ml.test_train import PROVENANCE

SCORES = st.lists(st.sampled_from([n / 10 for n in range(11)]), min_size=40, max_size=40)


@given(SCORES, st.floats(0.01, 500.0), st.none() | st.floats(1.0, 2_000.0))
def test_no_threshold_costs_less(scores: list[float], price: float, budget: float | None) -> None:
    rows, blend = dataset(40, fraud_share=0.3), np.array(scores)
    parameters = replace(FOREST, review_cost=price, alerts_per_day=budget)
    chosen = cheapest_threshold(rows, blend, parameters)

    def cost(threshold: float) -> float:
        alert = blend >= threshold
        return float(price * alert.sum() + rows.amount[~alert & (rows.labels == 1)].sum())

    allowed = [
        value for value in scores if budget is None or (blend >= value).sum() <= budget * days_in(rows.event_time_ms)
    ]
    if allowed:
        assert chosen in allowed
        assert cost(chosen) <= min(map(cost, allowed)) + 1e-6
    else:
        assert chosen == 1.0


def test_amounts_of_several_currencies_are_not_added() -> None:
    rows = dataset(40, fraud_share=0.3)
    codes = (np.arange(40) % 2).astype(np.int32)
    rows = replace(rows, currency=Coded(codes, ("USD", "EUR")))
    with pytest.raises(UserError, match="the rows have EUR, USD"):
        cheapest_threshold(rows, np.linspace(0.0, 1.0, 40), replace(FOREST, review_cost=5.0))


def test_the_table_has_the_chosen_threshold_and_others_around_it() -> None:
    rows, blend = rows_with_rules(), np.linspace(0.0, 1.0, 3_000)
    table = threshold_table(rows, blend, float(blend[-100]), 10.0)
    assert [round(row.alerts_per_day * days_in(rows.event_time_ms)) for row in table] == [
        25, 50, 75, 100, 125, 150, 200, 400,
    ]  # fmt: skip
    (chosen,) = [row for row in table if row.is_chosen]
    alert, fraud = blend >= blend[-100], rows.labels == 1
    assert chosen.precision == pytest.approx(fraud[alert].mean())
    assert chosen.recall == pytest.approx(alert[fraud].mean())
    days = days_in(rows.event_time_ms)
    assert chosen.missed_per_day * days == pytest.approx(rows.amount[fraud & ~alert].sum())
    assert chosen.cost_per_day is not None
    assert chosen.cost_per_day * days == pytest.approx(1_000.0 + rows.amount[fraud & ~alert].sum())
    assert all(row.cost_per_day is None for row in threshold_table(rows, blend, 0.5, None))
    assert [row.alerts_per_day for row in threshold_table(rows, blend, 2.0, None)] == [0.0]


@pytest.mark.parametrize(
    ("budget", "price", "rule"),
    [
        (None, None, ThresholdRule.SAME_ALERTS),
        (2_000.0, None, ThresholdRule.ALERT_BUDGET),
        (None, 25.0, ThresholdRule.REVIEW_COST),
        (2_000.0, 25.0, ThresholdRule.REVIEW_COST),
    ],
)
def test_the_manifest_has_the_choice(budget: float | None, price: float | None, rule: ThresholdRule) -> None:
    parameters = replace(FOREST, alerts_per_day=budget, review_cost=price)
    manifest = train_model(rows_with_rules(), parameters, PROVENANCE).manifest
    choice = manifest.threshold_choice
    assert choice is not None
    assert manifest.blend is not None
    assert (choice.rule, choice.alerts_per_day, choice.review_cost) == (rule, budget, price)
    assert [row.threshold for row in choice.table if row.is_chosen] == [manifest.blend.threshold]
    assert parse_manifest(manifest.to_json()) == manifest
    assert ("review_cost" in manifest.parameters) == (price is not None)


def test_a_dearer_review_never_gives_more_alerts() -> None:
    rows = rows_with_rules()
    scores = np.clip(0.1 + 0.7 * (rows.labels == 1) + np.random.default_rng(1).normal(0.0, 0.2, len(rows)), 0.0, 1.0)
    counts = []
    for price in (1.0, 20.0, 200.0, 100_000.0):
        chosen = best_blend(rows, scores, replace(FOREST, review_cost=price))
        assert chosen is not None
        counts.append(int((blended(scores, rows.rule_score, chosen.alpha) >= chosen.threshold).sum()))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_an_invalid_choice_is_refused() -> None:
    choice = train_model(rows_with_rules(), FOREST, PROVENANCE).manifest.threshold_choice
    assert choice is not None
    good = orjson.loads(orjson.dumps(asdict(choice)))
    assert parse_threshold_choice(good) == choice
    row = good["table"][0]
    changes: list[dict[str, object]] = [
        {"rule": "luck"}, {"table": {}}, {"table": [row] * 51}, {"review_cost": "5"}, {"more": 1},
        {"table": [row | {"recall": "high"}]}, {"table": [row | {"is_chosen": 1}]}, {"table": [{}]},
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(ModelError):
            parse_threshold_choice(good | change)
    with pytest.raises(ModelError):
        parse_threshold_choice([])
