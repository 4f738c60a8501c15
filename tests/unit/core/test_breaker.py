"""The breaker opens after ``limit`` faults within ``window`` uses, and never otherwise."""

from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.models.breaker import FaultBreaker


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 5), st.integers(0, 20))
def test_it_opens_exactly_when_the_last_uses_hold_too_many_faults(faulty: list[bool], limit: int, more: int) -> None:
    window = limit + more
    breaker = FaultBreaker(limit, window)
    for use, is_fault in enumerate(faulty, start=1):
        if is_fault:
            latest = faulty[max(0, use - window) : use]
            assert breaker.fault(use) is (sum(latest) >= limit)
