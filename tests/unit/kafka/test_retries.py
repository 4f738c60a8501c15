"""Requests that the broker cannot answer yet are repeated; other errors are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kafka.errors import CoordinatorLoadInProgressError, GroupAuthorizationFailedError, KafkaError

from flink_jobs.kafka.retries import retried


def answers(*outcomes: str | KafkaError) -> tuple[Callable[[], str], list[str | KafkaError]]:
    """Return a request with these outcomes in order, and the list of the outcomes that are left."""
    left = list(outcomes)

    def request() -> str:
        outcome = left.pop(0)
        if isinstance(outcome, KafkaError):
            raise outcome
        return outcome

    return request, left


def test_a_coordinator_that_is_still_loading_is_asked_again() -> None:
    request, left = answers(CoordinatorLoadInProgressError(), CoordinatorLoadInProgressError(), "offsets")
    assert retried(request, pause_s=0) == "offsets"
    assert left == []


def test_a_missing_right_is_reported_at_once() -> None:
    request, left = answers(GroupAuthorizationFailedError(), "offsets")
    with pytest.raises(GroupAuthorizationFailedError):
        retried(request, pause_s=0)
    assert left == ["offsets"]


def test_a_coordinator_that_never_loads_is_reported_after_the_limit() -> None:
    request, left = answers(CoordinatorLoadInProgressError(), CoordinatorLoadInProgressError())
    with pytest.raises(CoordinatorLoadInProgressError):
        retried(request, limit_s=0, pause_s=0)
    assert len(left) == 1
