"""The guard trips when a challenger leaves its band, and not by chance."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_jobs.core.control.experiment import GuardBand
from flink_jobs.core.models.guard import WINDOW_FACTOR, ExperimentGuard

BAND = GuardBand(min_decisions=200, max_alert_rate_ratio=2.0, min_alert_rate_ratio=0.5, max_error_share=0.05)


def run(guard: ExperimentGuard, champion: float, challenger: float, decisions: int, seed: int = 1) -> str | None:
    """Feed both models decisions with these alert rates; return why the guard tripped, if it did."""
    rng = random.Random(seed)  # noqa: S311 - repeatable
    for _ in range(decisions):
        guard.champion_decided(is_alert=rng.random() < champion)
        why = guard.challenger_decided(is_alert=rng.random() < challenger, is_error=False)
        if why is not None:
            return why
    return None


@pytest.mark.parametrize("rate", [0.0, 0.005, 0.05, 0.3, 1.0])
def test_a_challenger_that_alerts_as_often_stays(rate: float) -> None:
    assert [run(ExperimentGuard(BAND), rate, rate, 5_000, seed) for seed in range(10)] == [None] * 10


def test_a_challenger_inside_the_band_stays() -> None:
    assert run(ExperimentGuard(BAND), 0.05, 0.08, 5_000) is None
    assert run(ExperimentGuard(BAND), 0.08, 0.05, 5_000) is None


def test_a_challenger_that_alerts_too_often_ends_the_experiment_with_the_numbers() -> None:
    why = run(ExperimentGuard(BAND), 0.02, 0.4, 5_000)
    assert why is not None
    assert "times as often; the band is 0.5 to 2" in why
    assert "of 200 events" in why, "as soon as there are enough decisions"


def test_a_challenger_that_never_alerts_ends_the_experiment() -> None:
    assert run(ExperimentGuard(BAND), 0.2, 0.0, 5_000) is not None


def test_rates_are_compared_only_after_enough_decisions_of_both() -> None:
    guard = ExperimentGuard(BAND)
    assert run(guard, 0.0, 1.0, BAND.min_decisions - 1) is None
    alone = ExperimentGuard(BAND)
    for _ in range(1_000):
        assert alone.challenger_decided(is_alert=True, is_error=False) is None, "no champion to compare with"


def test_too_many_errors_end_the_experiment_whatever_the_alerts() -> None:
    guard = ExperimentGuard(BAND)
    whys = [guard.challenger_decided(is_alert=False, is_error=number % 10 == 0) for number in range(BAND.min_decisions)]
    assert whys[:-1] == [None] * (BAND.min_decisions - 1)
    assert whys[-1] is not None
    assert "failed on 20 of 200 events, which is 10.000%; at most 5.000% are allowed" in whys[-1]


def test_decisions_before_the_window_do_not_count() -> None:
    """Old decisions of a champion that never alerted do not end an experiment."""
    guard = ExperimentGuard(BAND)
    for _ in range(BAND.min_decisions * 10):
        guard.champion_decided(is_alert=False)
    for _ in range(BAND.min_decisions * WINDOW_FACTOR):
        guard.champion_decided(is_alert=True)
    for _ in range(1_000):
        assert guard.challenger_decided(is_alert=True, is_error=False) is None


@settings(max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=400), st.integers(20, 40))
def test_the_windows_count_the_latest_events(events: list[tuple[bool, bool]], least: int) -> None:
    guard = ExperimentGuard(GuardBand(least, 1_000.0, 0.001, 1.0))
    for is_alert, is_error in events:
        guard.challenger_decided(is_alert=is_alert, is_error=is_error)
    latest = events[-least * WINDOW_FACTOR :]
    window = guard._challenger
    assert window.events == len(latest)
    assert window.errors == sum(is_error for _, is_error in latest)
    assert window.alerts == sum(is_alert and not is_error for is_alert, is_error in latest)
