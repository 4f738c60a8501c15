"""Redelivered transactions far back: recognised inside the window, in bounded memory, by the job and by the replay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.features.vector import DAY_MS
from flink_jobs.core.outcome import Outcome
from flink_jobs.core.replay import replay_features
from flink_jobs.core.state import recent
from flink_jobs.core.state.codec import STATE_VERSION, max_state_bytes
from flink_jobs.core.state.customer import CustomerFraudState, transaction_fingerprint
from flink_jobs.core.state.fields import RING_CAPACITY
from flink_jobs.core.state.older_ids import DEFAULT_WINDOW, SLACK, DuplicateWindow, OlderIds
from flink_jobs.core.state.recent import RecentStates
from flink_jobs.core.transaction import Transaction
from flink_jobs.native.loader import core_in_use
from tests.strategies import NOW_MS, record_of, wire
from tests.unit.core.test_state_bytes import GOLDEN, blob_of

if TYPE_CHECKING:
    from random import Random

START_MS = NOW_MS - NOW_MS % DAY_MS - 100 * DAY_MS


def transaction(name: str, time_ms: int) -> Transaction:
    return Transaction(name, "c-1", 100, "USD", time_ms, None, None, None, None)


def observe(state: CustomerFraudState, name: str, time_ms: int, window: DuplicateWindow = DEFAULT_WINDOW) -> None:
    state.observe(transaction(name, time_ms), 1.0, transaction_fingerprint(name), window=window)


def after(times_ms: list[int], window: DuplicateWindow = DEFAULT_WINDOW) -> CustomerFraudState:
    """Return the state after transactions `t-0`, `t-1`, ... with these event times."""
    state = CustomerFraudState()
    for number, time_ms in enumerate(times_ms):
        observe(state, f"t-{number}", time_ms, window)
    return state


def seen(state: CustomerFraudState, count: int) -> list[bool]:
    return [state.has_seen(transaction_fingerprint(f"t-{number}")) for number in range(count)]


class Job:
    """The evaluator with the state of one customer; with a cache of decoded states, as in the job."""

    def __init__(self, recent_states: RecentStates) -> None:
        self.evaluator = TransactionEvaluator(recent=recent_states)
        self.state: bytes | None = None

    def send(self, name: str, time_ms: int) -> Outcome:
        document = {
            "transaction_id": name, "customer_id": "c-1", "amount_minor": 100, "currency": "USD",
            "event_time_ms": time_ms,
        }  # fmt: skip
        outcome = self.evaluator.evaluate(record_of(wire(document), "c-1"), lambda: self.state, NOW_MS)
        self.state = outcome.state or self.state
        return outcome


@pytest.mark.parametrize("cached_customers", [0, 10], ids=["decoded each time", "cached"])
def test_a_redelivery_after_up_to_4_999_others_is_a_duplicate(cached_customers: int) -> None:
    """Guards a defect: after 32 others a redelivery was scored again and changed the customer's statistics."""
    job, step_ms = Job(RecentStates(cached_customers, 10**15)), DAY_MS // 1_000
    job.send("redelivered", START_MS)
    for others in range(1, 5_000):
        assert job.send(f"t-{others}", START_MS + others * step_ms).decision is not None
        if others in {32, 33, 1_000, 4_999}:
            before = job.state
            outcome = job.send("redelivered", START_MS)
            assert (outcome.decision, outcome.state) == (None, None)
            assert [letter.reason for letter in outcome.letters] == ["DUPLICATE_TRANSACTION"]
            assert job.state == before
    assert CustomerFraudState(job.state).seen_count == 5_000


def test_after_more_others_than_the_window_has_it_is_scored_again() -> None:
    state = after([START_MS + number for number in range(5_000 + SLACK + 1)])
    assert seen(state, 5_001 + SLACK) == [False] * (SLACK + 1) + [True] * 5_000


@given(
    st.randoms(use_true_random=False),
    st.integers(0, 500),
    st.sampled_from([(1, 32), (2, 40), (3, 100), (7, 5_000)]),
    st.sampled_from([0, 60_000, 3_600_000, DAY_MS]),
    st.sampled_from([0.0, 0.02, 0.5]),
)
def test_the_guarantee_holds_against_a_plain_set(
    random: Random, count: int, window: tuple[int, int], gap_ms: int, late: float
) -> None:
    """Any ids, times and redeliveries: recognised if promised, never invented, and within the bounds."""
    bounds = DuplicateWindow(*window)
    state, scored, newest_ms = CustomerFraudState(), dict[str, tuple[int, int]](), START_MS
    for number in range(count):
        time_ms = newest_ms + random.randint(0, 2 * gap_ms)
        if random.random() < late:
            time_ms = START_MS - random.randint(0, 40 * DAY_MS)
        name = f"t-{number}"
        assert not state.has_seen(transaction_fingerprint(name))
        observe(state, name, time_ms, bounds)
        newest_ms = state.last_event_time_ms or 0
        scored[name] = (number, time_ms)
        if random.random() < 0.02:
            blob = state.to_bytes()
            state = CustomerFraudState.from_bytes(blob)
            assert state.to_bytes() == blob
            assert len(blob) <= max_state_bytes(bounds)
    for name, (number, time_ms) in scored.items():
        others = count - 1 - number
        is_promised = others < bounds.transactions and newest_ms - time_ms <= bounds.days * DAY_MS
        if is_promised or others < RING_CAPACITY:
            assert state.has_seen(transaction_fingerprint(name)), (name, others)
    if state.older is not None:
        assert len(state.older.tags) <= bounds.transactions - RING_CAPACITY + SLACK
        assert len(state.older.page_days) <= bounds.days + 2
        assert list(state.older.page_days) == sorted(set(state.older.page_days))
    assert CustomerFraudState.from_bytes(state.to_bytes()) == state


def test_a_late_transaction_is_remembered_from_its_arrival() -> None:
    """Its own time is outside the window, but its redelivery comes as soon as that of any other transaction."""
    state = after([START_MS + number for number in range(50)])
    observe(state, "late", START_MS - 30 * DAY_MS)
    for number in range(100):
        observe(state, f"next-{number}", START_MS + 50 + number)
    assert state.has_seen(transaction_fingerprint("late"))


def test_ids_outside_the_days_are_deleted_except_the_last_32() -> None:
    state = after([START_MS + number for number in range(100)])
    assert state.older_bytes > 0
    observe(state, "t-100", START_MS + 7 * DAY_MS)
    assert seen(state, 101) == [True] * 101
    observe(state, "t-101", START_MS + 8 * DAY_MS + 100)
    assert state.older_bytes == 0
    assert seen(state, 102) == [False] * 70 + [True] * 32


def test_a_customer_with_one_transaction_a_day_has_no_older_ids() -> None:
    state = after([START_MS + number * DAY_MS for number in range(60)])
    assert state.older is None
    assert seen(state, 60) == [False] * 28 + [True] * 32


def test_a_window_of_32_transactions_keeps_the_ring_only() -> None:
    state = after([START_MS + number for number in range(100)], DuplicateWindow(7, RING_CAPACITY))
    assert state.older is None


def test_a_smaller_window_applies_from_the_next_transaction() -> None:
    state = after([START_MS + number for number in range(1_000)])
    observe(state, "t-1000", START_MS + 1_000, DuplicateWindow(7, 100))
    assert seen(state, 1_001) == [False] * 901 + [True] * 100
    observe(state, "t-1001", START_MS + 1_001, DuplicateWindow(7, RING_CAPACITY))
    assert len(CustomerFraudState.from_bytes(state.to_bytes()).recent_ids) == RING_CAPACITY


@pytest.mark.parametrize("name", ["state_v1_full", "state_v2_full"])
def test_the_ids_of_an_older_release_are_carried_over(name: str) -> None:
    state = CustomerFraudState.from_bytes(blob_of(next(path for path in GOLDEN if path.stem == name)))
    old_ids, start_ms = list(state.recent_ids), state.last_event_time_ms or 0
    for number in range(1_000):
        observe(state, f"new-{number}", start_ms + number)
    assert all(state.has_seen(fingerprint) for fingerprint in old_ids)
    assert state.to_bytes()[0] == STATE_VERSION


def test_only_a_whole_id_is_found() -> None:
    """Ids with an equal lowest byte, and the bytes of an id across the border of two others."""
    older = OlderIds(STATE_VERSION)
    for fingerprint in (0x0102030405060708, 0x1112131415161708, 0xFFFFFFFFFFFFFF08):
        older.add(fingerprint, START_MS)
    assert older.holds(0x1112131415161708)
    assert not older.holds(0x1112131415161709)
    assert not older.holds(0x2112131415161708)
    stored = bytes(older.ids)
    assert not any(
        older.holds(int.from_bytes(stored[at : at + 8], "little")) for at in range(len(stored) - 8) if at % 8
    )


@pytest.mark.skipif(core_in_use() == "compiled", reason="compiled modules cannot be patched")
def test_the_cache_bounds_the_memory_of_older_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MAX_OLDER_BYTES", 2_500)
    cache = RecentStates(10, 10**15)
    for customer in "abc":
        cache.keep(customer, after([START_MS + number for number in range(RING_CAPACITY + 100)]), 0)
    assert [cache.take(customer, 0) is None for customer in "abc"] == [True, False, False]
    for customer in "abc":
        cache.keep(customer, CustomerFraudState(), 0)
    assert [cache.take(customer, 0) is None for customer in "abc"] == [False, False, False]


def test_the_replay_for_training_uses_the_same_window() -> None:
    history = [transaction(f"t-{number}", START_MS + number) for number in range(500)]
    again = [*history, *history[:2], transaction("t-500", START_MS + 500)]
    assert [item.transaction for item in replay_features(again)] == [*history, again[-1]]
    assert len(list(replay_features(again, window=DuplicateWindow(7, RING_CAPACITY)))) == len(again)
