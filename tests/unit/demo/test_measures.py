from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.demo.measures import LatencyLog, Percentiles, RateMeter, percentile, percentiles


def test_a_rate_needs_two_samples() -> None:
    meter = RateMeter()
    assert meter.update(10.0, 500) == 0.0
    assert meter.update(10.0, 600) == 0.0, "no time has passed"
    assert meter.update(12.0, 700) == pytest.approx(100.0)


def test_a_rate_forgets_what_is_older_than_its_window() -> None:
    meter = RateMeter(window_s=5.0)
    totals = [(float(second), min(second, 10) * 100) for second in range(30)]
    rates = [meter.update(now, total) for now, total in totals]
    assert rates[10] == pytest.approx(100.0)
    assert rates[12] == pytest.approx(60.0), "two of the last five seconds brought nothing"
    assert rates[-1] == 0.0


def test_bursts_are_averaged_over_the_window() -> None:
    meter = RateMeter(window_s=4.0)
    rates = [meter.update(step / 2, 100 * (step // 2)) for step in range(40)]  # 100 at once, every second
    assert all(rate == pytest.approx(100.0, rel=0.15) for rate in rates[12:])


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_percentile_is_a_value_with_that_share_at_or_below_it(values: list[float], share: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) <= share * len(values) + 1e-9 or found == ordered[0]


def test_percentiles_of_a_hundred() -> None:
    assert percentiles([float(n) for n in range(100, 0, -1)]) == Percentiles(50.0, 99.0, 100)


def test_nothing_measured_is_not_zero() -> None:
    assert percentiles([]) == Percentiles(None, None, 0)
    assert percentiles([]).text() == "-"


def test_a_latency_log_has_recent_second_half_and_all_percentiles() -> None:
    log = LatencyLog()
    for second in range(10):
        log.add(float(second), 1_000.0 if second < 5 else 10.0)
    assert log.recent(9.0, window_s=2.0) == Percentiles(10.0, 10.0, 3)
    assert log.recent(100.0, window_s=2.0) == log.all(), "when nothing came of late, all that came is shown"
    assert log.second_half() == Percentiles(10.0, 10.0, 5)
    assert log.all() == Percentiles(10.0, 1_000.0, 10)
