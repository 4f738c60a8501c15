"""States kept beside the backend: never another answer than the backend's, and not for longer than its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.state.customer import CustomerFraudState
from flink_jobs.core.state.recent import RecentStates
from flink_jobs.native.loader import core_in_use
from tests.strategies import NOW_MS, record_of, wire
from tests.unit.core.evaluation import Stream, parts

TTL_MS = 1_000


def transaction(name: str, **fields: object) -> SourceRecord:
    document = {
        "transaction_id": name,
        "customer_id": "c-1",
        "amount_minor": 1_000,
        "currency": "USD",
        "event_time_ms": NOW_MS,
        **fields,
    }
    return record_of(wire(document), str(document["customer_id"]))


def kept(capacity: int = 2, time_to_live_ms: int = 10**12) -> Stream:
    return Stream(TransactionEvaluator(recent=RecentStates(capacity, time_to_live_ms)))


def test_what_is_taken_is_gone() -> None:
    recent = RecentStates(2, TTL_MS)
    state = CustomerFraudState()
    recent.keep("a", state, 0)
    assert recent.take("a", 0) is state
    assert recent.take("a", 0) is None


def test_the_customer_not_seen_for_longest_leaves_first() -> None:
    recent = RecentStates(2, TTL_MS)
    for customer in "ab":
        recent.keep(customer, CustomerFraudState(), 0)
    state = recent.take("a", 0)
    assert state is not None
    recent.keep("a", state, 0)
    recent.keep("c", CustomerFraudState(), 0)
    assert [recent.take(customer, 0) is None for customer in "abc"] == [False, True, False]


def test_no_capacity_keeps_none() -> None:
    recent = RecentStates(0, TTL_MS)
    recent.keep("a", CustomerFraudState(), 0)
    assert recent.take("a", 0) is None


def test_a_state_is_forgotten_when_the_backend_may_have_forgotten_it() -> None:
    recent = RecentStates(2, TTL_MS)
    for now_ms, is_kept in ((TTL_MS - 1, True), (TTL_MS, False)):
        recent.keep("a", CustomerFraudState(), 0)
        assert (recent.take("a", now_ms) is not None) is is_kept


def test_a_customer_seen_again_is_not_read_again() -> None:
    stream = kept()
    stream.send(transaction("t-1"))
    assert stream.reads == 1
    stream.send(transaction("t-2"))
    assert stream.reads == 0


@pytest.mark.skipif(core_in_use() == "compiled", reason="compiled classes cannot be patched")
def test_after_a_failure_in_mid_change_the_stored_state_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = kept()
    stream.send(transaction("t-1"))
    stored = stream.states["c-1"]
    monkeypatch.setattr(CustomerFraudState, "to_bytes", lambda _: 1 / 0)
    letter = parts(stream.send(transaction("t-2")))[2][0]
    assert letter["reason"] == "PROCESSING_ERROR"
    monkeypatch.undo()
    outcome = stream.send(transaction("t-2"))
    assert stream.reads == 1
    again = Stream()
    again.states["c-1"] = stored
    assert outcome == again.send(transaction("t-2"))


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 6), st.integers(1, 10**6), st.integers(0, 10**8))),
    st.integers(0, 3),
)
def test_decisions_and_stored_bytes_are_those_of_reading_each(
    events: list[tuple[str, int, int, int]], capacity: int
) -> None:
    """More customers than there is room for, some events twice, in any order."""
    plain, with_kept = Stream(), kept(capacity)
    for customer, number, amount_minor, ago_ms in events:
        record = transaction(
            f"t-{number}", customer_id=customer, amount_minor=amount_minor, event_time_ms=NOW_MS - ago_ms
        )
        assert with_kept.send(record) == plain.send(record)
    assert with_kept.states == plain.states
