"""The gate: each bound refuses on its own, and the reason contains the numbers."""

from dataclasses import replace
from typing import Any

import pytest

from ml.gate import GateBounds, Measured, check_speed, compare, refusals

BOUNDS = GateBounds(tolerance=0.01, max_alert_rate_ratio=2.0, max_score_us=100.0, min_frauds=10)
CHAMPION = Measured(roc_auc=0.9, average_precision=0.5, alert_rate=0.01, rows=10_000, frauds=50)


def test_an_equal_model_passes() -> None:
    assert refusals(compare(CHAMPION, CHAMPION, BOUNDS)) == []
    assert len(compare(CHAMPION, CHAMPION, BOUNDS)) == 4


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"average_precision": 0.48}, "average precision: 0.480, the champion 0.500; at most 0.01 below"),
        ({"roc_auc": 0.88}, "ROC AUC: 0.880, the champion 0.900; at most 0.01 below"),
        ({"alert_rate": 0.03}, "alert rate: 3.000%, the champion 1.000%; at most 2 times more or less"),
        ({"alert_rate": 0.002}, "alert rate: 0.200%, the champion 1.000%; at most 2 times more or less"),
        ({"alert_rate": 0.0}, "alert rate: 0.000%, the champion 1.000%; at most 2 times more or less"),
    ],
)
def test_each_bound_refuses_alone(change: dict[str, Any], reason: str) -> None:
    assert refusals(compare(replace(CHAMPION, **change), CHAMPION, BOUNDS)) == [reason]


def test_within_the_tolerance_it_passes() -> None:
    near = replace(CHAMPION, average_precision=0.4901, roc_auc=0.8901, alert_rate=0.02)
    assert refusals(compare(near, CHAMPION, BOUNDS)) == []


def test_too_few_frauds_are_refused() -> None:
    few = replace(CHAMPION, frauds=9)
    (reason,) = refusals(compare(few, few, BOUNDS))
    assert "10,000 rows with 9 frauds" in reason


def test_a_slow_model_is_refused() -> None:
    assert check_speed(100.0, BOUNDS).passed
    assert refusals([check_speed(101.0, BOUNDS)]) == ["scoring time: 101 us, at most 100 us"]
