"""Which rates the load test of the API tries."""

from __future__ import annotations

import pytest

from tests.lab.benchmarks.api_load import Load, steps


def load(rate: int, *, highest: int) -> Load:
    return Load(rate, reached=min(rate, highest), p50_ms=5, p99_ms=50, fallback=0, errors=0)


@pytest.mark.parametrize(
    ("highest", "tried"),
    [
        (900, [100, 500, 700, 1_000]),
        (500, [100, 500, 700]),
        (300, [100, 500, 350, 250]),
        (10, [100, 500, 350, 250, 150]),
    ],
)
def test_100_and_500_are_always_measured_and_then_the_highest_sustained_rate_is_searched(
    highest: int, tried: list[int]
) -> None:
    found = list(steps(lambda rate: load(rate, highest=highest)))
    assert [item.rate for item in found] == tried
    assert max((item.rate for item in found if item.is_sustained), default=0) <= highest


def test_a_rate_with_errors_or_many_fallbacks_is_not_sustained() -> None:
    assert load(100, highest=100).is_sustained
    assert not Load(100, 100, 5, 50, fallback=0.02, errors=0).is_sustained
    assert not Load(100, 100, 5, 50, fallback=0, errors=1).is_sustained
