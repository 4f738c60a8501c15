"""The split of customers: stable, of the share asked for, and anew for each experiment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.control.experiment import CustomerSplit

CUSTOMERS = [f"c-{number}" for number in range(20_000)]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.9, 1.0])
def test_the_share_is_the_one_asked_for(share: float) -> None:
    split = CustomerSplit("spring", share)
    inside = sum(map(split.has, CUSTOMERS)) / len(CUSTOMERS)
    assert inside == pytest.approx(share, abs=0.011)


def test_two_experiments_divide_the_customers_independently() -> None:
    spring, summer = CustomerSplit("spring", 0.5), CustomerSplit("summer", 0.5)
    both = sum(spring.has(customer) and summer.has(customer) for customer in CUSTOMERS) / len(CUSTOMERS)
    assert both == pytest.approx(0.25, abs=0.011)


@given(st.text(min_size=1, max_size=64), st.floats(0, 1), st.floats(0, 1))
def test_who_is_in_a_share_is_in_every_larger_one(customer: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert CustomerSplit("spring", large).has(customer) or not CustomerSplit("spring", small).has(customer)


def test_the_split_is_pinned() -> None:
    """A release that divided otherwise would move customers between models in the middle of an experiment."""
    split = CustomerSplit("spring", 0.25)
    assert [customer for customer in CUSTOMERS[:20] if split.has(customer)] == ["c-0", "c-8", "c-15", "c-17"]
