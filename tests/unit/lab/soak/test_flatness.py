"""The statistics behind the soak's verdicts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lab.soak.flatness import LEAST_SAMPLES, Trend, trend
from tests.lab.soak.load import sent_at, stamped
from tests.lab.soak.sampling import SampledSeries, latency_percentiles
from tests.lab.soak.soak_report import cells, judge, plot

values = st.lists(st.floats(1, 1e6), min_size=LEAST_SAMPLES, max_size=30)


@settings(deadline=None)
@given(values)
def test_the_slope_is_the_median_of_all_pairs(samples: list[float]) -> None:
    times = [5.0 * n for n in range(len(samples))]
    pairs = itertools.combinations(zip(times, samples, strict=True), 2)
    slope = np.median([(late - early) / (t - s) for (s, early), (t, late) in pairs])
    found = trend(times, samples)
    assert found.drift == pytest.approx(slope * times[-1] / np.median(samples))


@settings(deadline=None)
@given(values, st.floats(0.1, 100))
def test_the_unit_does_not_matter_and_reversal_changes_the_sign(samples: list[float], factor: float) -> None:
    times = list(range(len(samples)))
    found = trend(times, samples)
    scaled = trend(times, [factor * one for one in samples])
    assert scaled.drift == pytest.approx(found.drift)
    assert scaled.z == pytest.approx(found.z, abs=1.0)
    turned = trend(times, samples[::-1])
    assert turned.drift == pytest.approx(-found.drift)
    assert turned.z == pytest.approx(-found.z)


def test_a_steady_climb_is_found_and_noise_is_not() -> None:
    times = [10.0 * n for n in range(60)]
    noise = np.random.default_rng(1).normal(100, 2, 60)
    flat = trend(times, noise.tolist())
    assert flat.is_flat(0.05, only_growth=False)
    leak = trend(times, (noise + np.linspace(0, 20, 60)).tolist())
    assert leak.drift == pytest.approx(0.18, abs=0.05)
    assert not leak.is_flat(0.05, only_growth=True)


def test_single_outliers_are_no_trend() -> None:
    series = [100.0] * 40
    series[-1] = series[-3] = 5_000.0
    found = trend(range(40), series)
    assert (found.median, found.drift) == (100.0, 0.0)
    assert found.is_flat(0.0, only_growth=True)


def test_a_falling_series_is_flat_only_if_growth_alone_is_judged() -> None:
    falling = trend(range(20), [200.0 - 5 * n for n in range(20)])
    assert falling.is_flat(0.05, only_growth=True)
    assert not falling.is_flat(0.05, only_growth=False)


def test_a_constant_series_has_no_trend() -> None:
    assert trend(range(10), [0.0] * 10) == Trend(0.0, 0.0, 0.0)


@pytest.mark.parametrize(("times", "samples"), [(range(5), [1.0] * 5), (range(9), [1.0] * 10), ([1.0] * 9, [1.0] * 9)])
def test_too_few_samples_or_unordered_times_are_an_error(times: list[float], samples: list[float]) -> None:
    with pytest.raises(ValueError, match=r"needed|ascend"):
        trend(times, samples)


def test_the_warm_up_is_not_judged_and_a_series_that_was_never_sampled_fails() -> None:
    samples = [{"at_s": 15.0 * n, "x": 1_000.0 if n < 10 else 100.0} for n in range(40)]
    (row,) = judge(samples, [SampledSeries("x", "MiB", 0.1)])
    assert row["is_flat"]
    assert cells(row) == ("x", "MiB", "100", "+0.0%", "+10%", "+0.0", "flat")
    with pytest.raises(ValueError, match="y was never sampled"):
        judge(samples, [SampledSeries("y", "MiB", 0.1)])
    drawn = plot(SampledSeries("x", "MiB", 0.1), samples)
    assert "<svg" in drawn
    assert ">MiB</text>" in drawn


def test_a_leak_is_named() -> None:
    samples = [{"at_s": 15.0 * n, "rss": 500.0 + 10 * n} for n in range(40)]
    (row,) = judge(samples, [SampledSeries("rss", "MiB", 0.1)])
    assert cells(row)[-1] == "**NOT FLAT**"


def test_the_transaction_id_carries_the_send_time() -> None:
    payload = b'{"transaction_id":"s1-000000017","customer_id":"c1"}'
    assert sent_at(stamped(payload, 1_700_000_000_123) or b"") == 1_700_000_000_123
    assert stamped(None, 1) is None
    assert stamped(b"<xml/>", 1) == b"<xml/>"


def test_latencies_become_percentiles() -> None:
    assert latency_percentiles([]) == {}
    found = latency_percentiles([float(n) for n in range(1_001)])
    assert found == pytest.approx({"latency_p50_ms": 500.0, "latency_p99_ms": 990.0, "latency_p999_ms": 999.0})
