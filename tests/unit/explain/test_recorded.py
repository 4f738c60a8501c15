"""Decisions with one transaction id can be told apart by customer and by time."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.errors import UserError
from flink_jobs.explain.recorded import Asked, Recorded, only_one

if TYPE_CHECKING:
    from flink_jobs.core.documents import DecisionDocument


def recorded(customer: str, time_ms: int) -> Recorded:
    decision = {"transaction_id": "inv-1", "customer_id": customer, "event_time_ms": time_ms}
    return Recorded(cast("DecisionDocument", decision), None, DetectionConfig(), "Kafka")


def test_two_times_of_one_customer_are_listed_with_the_option_that_chooses() -> None:
    found = [recorded("rc-reuse", 1_704_067_200_000), recorded("rc-reuse", 1_704_326_400_123)]
    with pytest.raises(UserError, match="rc-reuse has 2 transactions inv-1") as caught:
        only_one(found, "inv-1")
    assert caught.value.what.endswith("at 2024-01-01T00:00:00.000Z, 2024-01-04T00:00:00.123Z")
    assert caught.value.fix == "choose one with --at TIME"


def test_two_customers_are_named_once_each() -> None:
    found = [recorded("a", 1), recorded("a", 2), recorded("b", 1)]
    with pytest.raises(UserError, match=r"several customers have a transaction inv-1 \(a, b\)"):
        only_one(found, "inv-1")


def test_what_is_left_open_matches_everything() -> None:
    assert Asked("inv-1").is_meant("a", 1)
    assert Asked("inv-1", "a", 1).is_meant("a", 1)
    assert not Asked("inv-1", "a", 1).is_meant("a", 2)
    assert not Asked("inv-1", "b").is_meant("a", 1)
    one = recorded("a", 1)
    assert only_one([one], "inv-1") is one
