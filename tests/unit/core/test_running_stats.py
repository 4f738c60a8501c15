"""Welford against numpy at every prefix, and the law of order."""

import math
from collections.abc import Iterable
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.state.running_stats import RunningStats
from tests import strategies as _profile  # noqa: F401 - loads the seeded profile

NUMBERS = st.floats(0.0, 1e10, allow_subnormal=False)
LISTS = st.lists(NUMBERS, max_size=40)


def same(left: RunningStats, right: RunningStats) -> None:
    """Equal up to rounding: relative in the mean, relative to the size of the numbers in the squares."""
    assert left.count == right.count
    assert left.mean == pytest.approx(right.mean, rel=1e-12, abs=1e-12)
    scale = max(left.mean * left.mean * left.count, 1.0)
    assert left.m2 == pytest.approx(right.m2, rel=1e-9, abs=1e-13 * scale)


def stats_of(values: Iterable[float]) -> RunningStats:
    stats = RunningStats()
    for value in values:
        stats.push(value)
    return stats


SERIES = {
    "small": [1.0, 2.0, 4.0, 8.0, 16.0],
    "constant": [7.25] * 50,
    "zeros": [0.0] * 10,
    "random": list(np.random.default_rng(1).lognormal(3.0, 1.5, 500)),
    "large offset": [1e9 + x for x in (4.0, 7.0, 13.0, 16.0) * 25],
    "larger offset": list(1e12 + np.random.default_rng(2).normal(0.0, 1.0, 300)),
    "negative": list(np.random.default_rng(3).normal(-5.0, 2.0, 100)),
    "ten magnitudes": [10.0**k for k in range(-5, 6)],
}


@pytest.mark.parametrize("values", SERIES.values(), ids=SERIES.keys())
def test_every_prefix_equals_numpy(values: list[float]) -> None:
    stats = RunningStats()
    for size, value in enumerate(values, start=1):
        stats.push(value)
        prefix = np.array(values[:size])
        assert stats.count == size
        assert stats.mean == pytest.approx(prefix.mean(), rel=1e-14)
        if size > 1:
            # Neither side knows a mean better than the spacing of doubles there.
            doubt = 8 * float(np.spacing(np.abs(prefix).max()))
            assert stats.variance == pytest.approx(prefix.var(ddof=1), rel=1e-9, abs=doubt)
            assert stats.std == pytest.approx(prefix.std(ddof=1), rel=1e-9, abs=doubt)


def test_a_large_offset_loses_no_digits() -> None:
    """Guards against E[x^2] - E[x]^2, which gives 0 or a negative variance here."""
    stats = stats_of([1e9 + x for x in (4.0, 7.0, 13.0, 16.0)])
    assert stats.variance == 30.0


@pytest.mark.parametrize("values", [[], [5.0]])
def test_no_spread_is_known_below_two_numbers(values: list[float]) -> None:
    stats = stats_of(values)
    assert math.isnan(stats.variance)
    assert math.isnan(stats.std)


@given(LISTS)
def test_the_sum_of_squares_is_never_negative_and_the_mean_within_the_numbers(values: list[float]) -> None:
    stats = stats_of(values)
    assert stats.m2 >= 0.0
    if values:
        assert min(values) * (1 - 1e-12) <= stats.mean <= max(values) * (1 + 1e-12)


def test_order_does_not_matter() -> None:
    values = [0.01, 1e6, 3.5, 99.99, 0.0]
    reference = stats_of(values)
    for order in permutations(values):
        same(stats_of(order), reference)
