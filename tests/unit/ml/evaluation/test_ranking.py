"""Ranking metrics equal those of scikit-learn; a resample of customers repeats their rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from ml.evaluation import bootstrap as module
from ml.evaluation.bootstrap import customer_weights, estimate
from ml.evaluation.ranking import budget_threshold, curves, rank, ranking_values

Case = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64], int]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Rows with both labels; scores are on a coarse grid, so that many are equal."""
    size = draw(st.integers(2, 60))
    seed = draw(st.integers(0, 2**32 - 1))
    steps = draw(st.sampled_from([1, 3, 1_000]))
    rng = np.random.default_rng(seed)
    fraud = rng.random(size) < draw(st.floats(0.05, 0.95))
    fraud[0], fraud[1] = True, False
    return rng.integers(0, steps + 1, size) / steps, fraud, rng.integers(0, 5, size), seed


def repeated(case: Case, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    times = weights[case[2]].astype(int)
    return np.repeat(case[0], times), np.repeat(case[1], times)


@settings(deadline=None)
@given(cases())
def test_auc_and_average_precision_equal_scikit_learn_in_every_resample(case: Case) -> None:
    scores, fraud, customers, seed = case
    weights = customer_weights(5, 8, seed)
    values = ranking_values(rank(scores, fraud, customers), weights, budget=3)
    assert values.roc_auc[0] == pytest.approx(roc_auc_score(fraud, scores))
    for number, row in enumerate(weights):
        again, labels = repeated(case, row)
        if labels.all() or not labels.any():
            assert np.isnan(values.roc_auc[number])
            assert np.isnan(values.average_precision[number])
        else:
            assert values.roc_auc[number] == pytest.approx(roc_auc_score(labels, again))
            assert values.average_precision[number] == pytest.approx(average_precision_score(labels, again))


@settings(deadline=None)
@given(cases(), st.integers(1, 70))
def test_recall_at_a_budget_is_the_mean_over_orders_of_equal_scores(case: Case, budget: int) -> None:
    scores, fraud, customers, _ = case
    values = ranking_values(rank(scores, fraud, customers), np.ones((1, 5)), budget)
    found = 0.0
    for score, label in zip(scores, fraud, strict=True):
        above, equal = (scores > score).sum(), (scores == score).sum()
        found += label * min(1.0, max(0.0, (budget - above) / equal))
    assert values.recall_at_budget[0] == pytest.approx(found / fraud.sum())
    assert values.precision_at_budget[0] == pytest.approx(found / min(budget, len(scores)))


@settings(deadline=None)
@given(cases(), st.integers(1, 70))
def test_the_threshold_is_the_lowest_that_stays_within_the_budget(case: Case, budget: int) -> None:
    scores, fraud, customers, _ = case
    threshold = budget_threshold(rank(scores, fraud, customers), budget)
    possible = [score for score in np.unique(scores) if (scores >= score).sum() <= budget]
    assert threshold == (min(possible) if possible else scores.max())


@settings(deadline=None)
@given(cases())
def test_curves_pass_through_the_points_of_scikit_learn(case: Case) -> None:
    scores, fraud, customers, _ = case
    points = curves(rank(scores, fraud, customers))
    false, true, _ = roc_curve(fraud, scores, drop_intermediate=False)
    oracle = {(round(x, 9), round(y, 9)) for x, y in zip(false, true, strict=True)}
    drawn = {(round(x, 9), round(y, 9)) for x, y in zip(points.false_positive_rate, points.recall, strict=True)}
    assert drawn <= oracle
    precision, recall, _ = precision_recall_curve(fraud, scores)
    oracle = {(round(x, 9), round(y, 9)) for x, y in zip(recall, precision, strict=True)}
    assert {(round(x, 9), round(y, 9)) for x, y in zip(points.recall, points.precision, strict=True)} <= oracle
    assert points.recall[-1] == points.false_positive_rate[-1] == 1.0


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    ranking = rank(rng.random(50), rng.random(50) < 0.3, rng.integers(0, 9, 50))
    weights = customer_weights(9, 20, seed=2)
    whole = ranking_values(ranking, weights, 10)
    monkeypatch.setattr(module, "CELLS_AT_ONCE", 150)
    reported: list[int] = []
    parts = ranking_values(ranking, weights, 10, reported.append)
    assert reported == [3, 6, 9, 12, 15, 18, 21]
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_seed_determines_the_draws_of_whole_customers() -> None:
    one, other = customer_weights(30, 10, seed=4), customer_weights(30, 10, seed=4)
    np.testing.assert_array_equal(one, other)
    assert (one[0] == 1.0).all()
    assert (one.sum(axis=1) == 30.0).all()
    assert not np.array_equal(one, customer_weights(30, 10, seed=5))


def test_an_interval_covers_the_true_value_about_as_often_as_stated() -> None:
    """Customers have very different numbers of rows: an interval by resampled rows would be far too narrow."""
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        customers = np.repeat(np.arange(80), rng.integers(1, 40, 80))
        risk = rng.beta(1, 4, 80)
        fraud = rng.random(len(customers)) < risk[customers]
        weights = customer_weights(80, 200, seed)
        sums = weights @ np.bincount(customers, fraud, 80) / (weights @ np.bincount(customers, minlength=80))
        interval = estimate(sums)
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= 0.2 <= interval.high
    assert 85 <= covered <= 99


def test_an_undefined_number_has_no_interval() -> None:
    assert estimate(np.array([np.nan, 1.0, 2.0])).value is None
    assert estimate(np.array([0.5])).low is None
    partly = estimate(np.array([0.5, np.nan, 0.25, 0.75]))
    assert (partly.low, partly.high) == pytest.approx((0.2625, 0.7375))
