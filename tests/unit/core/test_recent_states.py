"""States kept beside the backend: never another answer than the backend's, and not for longer than its own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.scoring import Blender
from flink_jobs.core.state import recent as recent_module
from flink_jobs.core.state.customer import CustomerFraudState
from flink_jobs.core.state.recent import RecentStates, UnsavedStateLost
from flink_jobs.core.transaction import Transaction
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


def deferred(capacity: int = 2) -> tuple[Stream, RecentStates]:
    """Return a stream whose cache encodes states later; nothing collects them."""
    recent = RecentStates(capacity, 10**12)
    recent.defer(100)
    return Stream(TransactionEvaluator(recent=recent)), recent


def test_a_deferred_state_is_encoded_once() -> None:
    (stream, recent), plain = deferred(), Stream()
    for number in range(3):
        record = transaction(f"t-{number}")
        assert stream.send(record) == plain.send(record)._replace(state=b"")
    assert recent.collect() == {}
    assert recent.collect_all() == plain.states
    assert recent.collect_all() == {}


def test_a_deferred_state_that_leaves_the_cache_is_encoded() -> None:
    recent = RecentStates(1, TTL_MS)
    recent.defer(100)
    for customer in "ab":
        assert recent.keep(customer, CustomerFraudState(), 0) == b""
    assert recent.saved("a") == CustomerFraudState().to_bytes()
    assert (recent.holds("a"), recent.holds("b"), recent.saved("b")) == (False, True, None)
    assert recent.collect().keys() == {"a"}
    assert recent.saved("a") is None


def test_without_capacity_no_state_is_deferred() -> None:
    recent = RecentStates(0, TTL_MS)
    recent.defer(100)
    assert recent.keep("a", CustomerFraudState(), 0) == CustomerFraudState().to_bytes()


def test_a_deferred_state_expires_like_any_other() -> None:
    recent = RecentStates(1, TTL_MS)
    recent.defer(100)
    recent.keep("a", CustomerFraudState(), 0)
    assert recent.take("a", TTL_MS) is None
    assert recent.collect_all() == {}


@pytest.mark.skipif(core_in_use() == "compiled", reason="compiled classes cannot be patched")
def test_a_failure_before_the_change_leaves_a_deferred_state_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    (stream, recent), plain = deferred(), Stream()
    stream.send(transaction("t-1"))
    monkeypatch.setattr(Blender, "score", lambda *_: 1 / 0)
    assert parts(stream.send(transaction("t-2")))[2][0]["reason"] == "PROCESSING_ERROR"
    monkeypatch.undo()
    for name in ("t-1", "t-2"):
        plain.send(transaction(name))
    stream.send(transaction("t-2"))
    assert recent.collect_all() == plain.states


@pytest.mark.skipif(core_in_use() == "compiled", reason="compiled classes cannot be patched")
def test_a_failure_in_mid_change_of_a_deferred_state_restarts_the_job_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A half changed state that only the cache has is lost. After the restart the same failure rejects one record."""
    monkeypatch.setattr(recent_module, "_careful", set[str]())
    observe = CustomerFraudState.observe

    def broken(self: CustomerFraudState, item: Transaction, *rest: Any) -> None:  # noqa: ANN401 - passed on
        if item.transaction_id == "t-poison":
            raise ValueError("broken")
        observe(self, item, *rest)

    monkeypatch.setattr(CustomerFraudState, "observe", broken)
    plain = Stream()
    expected = [plain.send(transaction(name)).letters for name in ("t-1", "t-poison", "t-2")]
    stream, _ = deferred()
    stream.send(transaction("t-1"))
    with pytest.raises(UnsavedStateLost):
        stream.send(transaction("t-poison"))
    stream, recent = deferred()
    assert [stream.send(transaction(name)).letters for name in ("t-1", "t-poison", "t-2")] == expected
    assert stream.states == plain.states
    assert recent.collect_all() == {}


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
