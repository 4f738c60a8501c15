"""Calibration and segments: compared with scikit-learn and with counts by hand; every row is in a segment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from ml.evaluation.bootstrap import customer_weights
from ml.evaluation.calibration import calibrate
from ml.evaluation.segments import OTHERS, SHOWN_GROUPS, Grouping, grouping_of, judge_groups


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_calibration_equals_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.random(80)
    fraud = rng.random(80) < scores
    fraud[:2] = True, False
    result = calibrate(scores, fraud, rng.integers(0, 7, 80), customer_weights(7, 20, seed))
    assert result.brier.value == pytest.approx(brier_score_loss(fraud, scores))
    rates, means = calibration_curve(fraud, scores, n_bins=10, strategy="uniform")
    filled = [one for one in result.reliability if one.rows]
    assert [one.fraud_rate.value for one in filled] == pytest.approx(rates.tolist())
    assert [one.mean_score for one in filled] == pytest.approx(means.tolist())
    error = sum(one.rows * abs(rate - mean) for one, rate, mean in zip(filled, rates, means, strict=True)) / 80
    assert result.expected_calibration_error.value == pytest.approx(error)


def test_the_ends_of_the_scale_are_in_the_outer_bins() -> None:
    result = calibrate(np.array([0.0, 1.0]), np.array([False, True]), np.array([0, 1]), np.ones((1, 2)))
    assert [one.rows for one in result.reliability] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert result.brier.value == 0.0


def test_rates_of_groups_by_hand() -> None:
    grouping = Grouping("category", ("food", "travel"), np.array([0, 0, 0, 1, 1]))
    alerted = np.array([True, True, False, False, True])
    fraud = np.array([True, False, True, False, False])
    food, travel = judge_groups(grouping, alerted, fraud, np.array([0, 0, 1, 1, 1]), np.ones((1, 2)))
    assert (food.rows, food.customers, food.frauds, food.alerts) == (3, 2, 2, 2)
    assert food.alert_rate.value == pytest.approx(2 / 3)
    assert (food.recall.value, food.precision.value, food.false_positive_rate.value) == (0.5, 0.5, 1.0)
    assert (travel.recall.value, travel.precision.value) == (None, 0.0)
    assert travel.false_positive_rate.value == 0.5
    assert food.is_small
    assert travel.is_small


def test_large_groups_are_not_marked_and_intervals_hold_the_rate() -> None:
    rng = np.random.default_rng(0)
    fraud, alerted = rng.random(4_000) < 0.1, rng.random(4_000) < 0.2
    customers = rng.integers(0, 60, 4_000)
    everyone = Grouping("all", ("all",), np.zeros(4_000, dtype=np.int64))
    (group,) = judge_groups(everyone, alerted, fraud, customers, customer_weights(60, 300, 1))
    assert not group.is_small
    for rate in (group.alert_rate, group.recall, group.precision, group.false_positive_rate):
        assert rate.low is not None
        assert rate.value is not None
        assert rate.high is not None
        assert 0.0 <= rate.low < rate.value < rate.high <= 1.0


def test_rare_values_are_one_group_and_no_row_is_lost() -> None:
    values = np.array([f"v{number}" for number in range(40) for _ in range(40 - number)])
    grouping = grouping_of("merchant", values)
    assert len(grouping.names) == SHOWN_GROUPS
    assert grouping.names[-1] == OTHERS
    assert "v0" in grouping.names
    assert "v39" not in grouping.names
    assert [grouping.names[code] for code, value in zip(grouping.codes, values, strict=True) if value == "v0"] == [
        "v0"
    ] * 40
    assert np.bincount(grouping.codes).sum() == len(values)


def test_few_values_keep_their_names() -> None:
    grouping = grouping_of("category", np.array(["b", "a", "b"]))
    assert grouping.names == ("a", "b")
    assert grouping.codes.tolist() == [1, 0, 1]
