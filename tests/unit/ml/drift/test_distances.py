"""PSI and KS equal scipy and numbers by hand, and chance alone gives no alarm."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from flink_jobs.core.models.reference import Bins
from ml.drift.binning import bin_values, take_reference
from ml.drift.distances import (
    SMALLEST_SHARE,
    chance_psi,
    kolmogorov_p_value,
    kolmogorov_smirnov,
    population_stability_index,
)
from ml.drift.intervals import wilson_interval

values = st.lists(st.one_of(st.floats(-5, 5), st.integers(0, 3).map(float), st.just(math.nan)), max_size=80).map(
    lambda items: np.array(items, dtype=np.float64)
)


@given(values, values)
def test_bins_hold_every_value_once(reference: np.ndarray, later: np.ndarray) -> None:  # type: ignore[type-arg]
    bins = bin_values(later, take_reference(reference).edges)
    assert list(bins.edges) == sorted(set(bins.edges))
    present = later[~np.isnan(later)]
    edges = [-math.inf, *bins.edges, math.inf]
    counted = [((present > low) & (present <= high)).sum() for low, high in pairwise(edges)]
    assert [share * max(1, len(present)) for share in bins.shares] == pytest.approx(counted)
    assert bins.absent * max(1, len(later)) == pytest.approx(len(later) - len(present))


@given(values)
def test_a_distribution_does_not_drift_from_itself(sample: np.ndarray) -> None:  # type: ignore[type-arg]
    bins = take_reference(sample)
    assert population_stability_index(bins, bins) == 0.0
    assert kolmogorov_smirnov(bins, bins) == 0.0


@settings(deadline=None)
@given(st.integers(0, 1_000), st.floats(-1, 1), st.integers(100, 600))
def test_ks_equals_scipy_at_the_edges(seed: int, shift: float, rows: int) -> None:
    rng = np.random.default_rng(seed)
    reference, later = rng.normal(size=rows), rng.normal(shift, 1.2, size=200)
    expected = take_reference(reference)
    ours = kolmogorov_smirnov(expected, bin_values(later, expected.edges))
    exact = stats.ks_2samp(reference, later).statistic
    assert ours <= exact + 1e-12
    assert ours >= exact - 0.05 - 1 / rows  # the share of one bin


@settings(deadline=None)
@given(st.integers(0, 1_000))
def test_ks_of_counts_is_exact(seed: int) -> None:
    """If every value is an edge, no value is between the edges."""
    rng = np.random.default_rng(seed)
    reference, later = rng.integers(0, 4, 400).astype(float), rng.integers(0, 5, 300).astype(float)
    expected = take_reference(reference)
    assert kolmogorov_smirnov(expected, bin_values(later, expected.edges)) == pytest.approx(
        stats.ks_2samp(reference, later).statistic
    )


@pytest.mark.parametrize("distance", [0.01, 0.05, 0.1, 0.3])
def test_the_p_value_is_near_scipy(distance: float) -> None:
    rows = 400
    root = math.sqrt(rows / 2)
    asymptotic = float(stats.kstwobign.sf((root + 0.12 + 0.11 / root) * distance))
    assert kolmogorov_p_value(distance, rows, rows) == pytest.approx(asymptotic, abs=1e-6)


def test_psi_by_hand() -> None:
    before, now = Bins((1.0, 2.0), (0.2, 0.3, 0.5), 0.0), Bins((1.0, 2.0), (0.5, 0.3, 0.2), 0.0)
    assert population_stability_index(before, now) == pytest.approx(2 * 0.3 * math.log(2.5))


def test_a_feature_that_is_absent_more_often_drifts() -> None:
    before, now = Bins((1.0,), (0.5, 0.5), 0.0), Bins((1.0,), (0.5, 0.5), 0.5)
    assert population_stability_index(before, now) > 0.25
    assert kolmogorov_smirnov(before, now) == 0.0


def test_an_empty_bin_has_a_limited_effect() -> None:
    before, now = Bins((1.0,), (1.0, 0.0), 0.0), Bins((1.0,), (0.99, 0.01), 0.0)
    assert population_stability_index(before, now) == pytest.approx(
        (0.99 - 1.0) * math.log(0.99) + (0.01 - SMALLEST_SHARE) * math.log(0.01 / SMALLEST_SHARE)
    )


def test_chance_psi_is_the_mean_psi_of_two_samples_of_one_distribution() -> None:
    rng = np.random.default_rng(3)
    measured = []
    for _ in range(300):
        expected = take_reference(rng.random(2_000))
        measured.append(population_stability_index(expected, bin_values(rng.random(500), expected.edges)))
    assert chance_psi(expected, 500, 2_000) == pytest.approx(np.mean(measured), rel=0.1)


@given(st.integers(0, 50), st.integers(0, 50))
def test_wilson_equals_scipy(hits: int, more: int) -> None:
    low, high = wilson_interval(hits, hits + more)
    if hits + more:
        oracle = stats.binomtest(hits, hits + more).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((oracle.low, oracle.high), abs=1e-9)
    else:
        assert (low, high) == (0.0, 1.0)
