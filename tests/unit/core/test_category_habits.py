"""Habits per category: equal to the textbook while young, fading when old, bounded always."""

import math
from statistics import mean, variance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.state.category_habits import MAX_CATEGORIES, MEMORY, CategoryHabits, category_key, log_amount

LOGS = st.lists(st.floats(0.0, 28.0), min_size=2, max_size=MEMORY)


@given(LOGS)
def test_mean_and_spread_are_those_of_the_statistics_module(values: list[float]) -> None:
    habits = CategoryHabits()
    for value in values:
        habits.push(7, value)
    assert habits.counts[0] == len(values)
    assert habits.means[0] == pytest.approx(mean(values), rel=1e-4, abs=1e-4)
    assert habits.m2s[0] / (len(values) - 1) == pytest.approx(variance(values), rel=1e-3, abs=1e-3)


def test_old_purchases_fade() -> None:
    habits = CategoryHabits()
    for _ in range(10 * MEMORY):
        habits.push(7, 3.0)
    for _ in range(3 * MEMORY):
        habits.push(7, 5.0)
    assert habits.counts[0] == MEMORY
    assert habits.means[0] == pytest.approx(5.0, abs=0.11)
    assert 0.0 < habits.m2s[0] / MEMORY < 0.3


def test_the_category_used_least_makes_room() -> None:
    habits = CategoryHabits()
    for key in range(MAX_CATEGORIES):
        for _ in range(1 if key == 5 else 2):
            habits.push(key, 1.0)
    habits.push(99, 4.0)
    assert len(habits.keys) == len(habits.counts) == len(habits.means) == len(habits.m2s) == MAX_CATEGORIES
    assert habits.place(5) == -1
    assert (habits.counts[habits.place(99)], habits.means[habits.place(99)]) == (1, 4.0)


def test_keys_tell_currency_and_category_apart() -> None:
    names = [("a", "USD"), ("a", "EUR"), ("USD", "a"), ("", "USD"), ("usd", "USD")]
    assert len({category_key(*name) for name in names}) == len(names)


def test_an_amount_of_zero_has_a_logarithm() -> None:
    assert log_amount(0.0) == 0.0
    assert log_amount(math.e - 1.0) == pytest.approx(1.0)
