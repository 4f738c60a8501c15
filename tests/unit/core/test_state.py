"""What is remembered of a customer, whatever the order it arrives in, within bounds."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.state.codec import MAX_STATE_BYTES
from flink_jobs.core.state.customer import CustomerFraudState, transaction_fingerprint
from flink_jobs.core.state.fields import HOURS, MAX_CURRENCIES, RING_CAPACITY
from flink_jobs.core.transaction import Transaction
from tests.strategies import histories, state_after

HOUR_MS = 3_600_000
START_MS = 1_704_067_200_000  # midnight


def transaction(
    name: str, time_ms: int, currency: str = "USD", place: tuple[float, float] | None = None
) -> Transaction:
    latitude, longitude = place or (None, None)
    return Transaction(name, "c-1", 100, currency, time_ms, None, None, latitude, longitude)


def observe(state: CustomerFraudState, *events: Transaction, amount: float = 1.0) -> CustomerFraudState:
    for event in events:
        state.observe(event, amount, transaction_fingerprint(event.transaction_id))
    return state


def test_a_new_customer_has_no_history() -> None:
    state = CustomerFraudState()
    assert state.last_event_time_ms is None
    assert state.located_at_ms is None
    assert not state.amounts
    assert list(state.hour_counts) == [0] * HOURS
    assert not state.has_seen(transaction_fingerprint("t-1"))


def test_two_new_customers_share_nothing() -> None:
    one, other = CustomerFraudState(), CustomerFraudState()
    observe(one, transaction("t-1", START_MS))
    assert other == CustomerFraudState()


def test_the_ring_keeps_the_latest_times_and_the_last_ids() -> None:
    count = RING_CAPACITY + 3
    state = observe(CustomerFraudState(), *[transaction(f"t-{i}", START_MS + i) for i in range(count)])
    assert list(state.recent_times_ms) == [START_MS + i for i in range(3, count)]
    assert [state.has_seen(transaction_fingerprint(f"t-{i}")) for i in range(count)] == [True] * count
    assert list(state.recent_ids) == [transaction_fingerprint(f"t-{i}") for i in range(3, count)]


def test_late_events_are_put_where_they_belong() -> None:
    times = [START_MS + offset for offset in (5, 1, 9, 9, 3, 0)]
    state = observe(CustomerFraudState(), *[transaction(f"t-{i}", time) for i, time in enumerate(times)])
    assert list(state.recent_times_ms) == sorted(times)
    assert state.last_event_time_ms == START_MS + 9


def test_a_late_event_older_than_a_full_ring_is_still_recognised_when_redelivered() -> None:
    state = observe(CustomerFraudState(), *[transaction(f"t-{i}", START_MS + i) for i in range(RING_CAPACITY)])
    observe(state, transaction("late", START_MS - HOUR_MS))
    assert state.recent_times_ms[0] == START_MS
    assert len(state.recent_times_ms) == len(state.recent_ids) == RING_CAPACITY
    assert state.has_seen(transaction_fingerprint("late"))
    assert state.has_seen(transaction_fingerprint("t-0"))


def test_hours_are_counted_in_utc() -> None:
    events = [transaction(f"t-{h}-{n}", START_MS + h * HOUR_MS + n) for h in (0, 23, 23, 24, 12) for n in (0,)]
    state = observe(CustomerFraudState(), *events)
    assert [(hour, count) for hour, count in enumerate(state.hour_counts) if count] == [(0, 2), (12, 1), (23, 2)]


def test_a_full_hour_counter_halves_them_all() -> None:
    state = CustomerFraudState()
    state.hour_counts[0], state.hour_counts[5], state.hour_counts[7] = 0xFFFF, 9, 1
    observe(state, transaction("t-1", START_MS))
    assert (state.hour_counts[0], state.hour_counts[5], state.hour_counts[7]) == (0x8000, 4, 0)
    assert CustomerFraudState.from_bytes(state.to_bytes()) == state


def test_amounts_are_kept_per_currency() -> None:
    state = CustomerFraudState()
    observe(state, transaction("t-1", START_MS, "USD"), transaction("t-2", START_MS, "JPY"), amount=5.0)
    observe(state, transaction("t-3", START_MS, "USD"), amount=7.0)
    assert {code: (stats.count, stats.mean) for code, stats in state.amounts.items()} == {
        "USD": (2, 6.0),
        "JPY": (1, 5.0),
    }


def test_a_fifth_currency_takes_the_place_of_the_one_used_least() -> None:
    state = CustomerFraudState()
    for index, code in enumerate(["USD", "USD", "EUR", "EUR", "JPY", "GBP", "GBP", "GBP"]):
        observe(state, transaction(f"t-{index}", START_MS + index, code))
    assert len(state.amounts) == MAX_CURRENCIES
    observe(state, transaction("t-new", START_MS + 99, "KWD"))
    assert set(state.amounts) == {"USD", "EUR", "GBP", "KWD"}
    assert state.amounts["KWD"].count == 1


@pytest.mark.parametrize("order", list(permutations([(0, (1.0, 1.0)), (5, None), (9, (3.0, 3.0)), (4, (2.0, 2.0))])))
def test_the_place_is_the_latest_in_event_time(order: list[tuple[int, tuple[float, float] | None]]) -> None:
    state = observe(CustomerFraudState(), *[transaction(f"t-{t}", START_MS + t, place=place) for t, place in order])
    assert (state.located_at_ms, state.latitude, state.longitude) == (START_MS + 9, 3.0, 3.0)


def test_of_two_places_at_one_time_the_later_to_arrive_stays() -> None:
    state = observe(
        CustomerFraudState(),
        transaction("t-1", START_MS, place=(1.0, 1.0)),
        transaction("t-2", START_MS, place=(2.0, 2.0)),
    )
    assert (state.latitude, state.longitude) == (2.0, 2.0)


def test_a_place_on_the_equator_at_greenwich_is_a_place() -> None:
    state = observe(CustomerFraudState(), transaction("t-1", START_MS, place=(0.0, 0.0)))
    assert state.located_at_ms == START_MS


@given(histories(max_size=RING_CAPACITY), st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_matter_while_everything_fits(history: list[Transaction], random: object) -> None:
    unique = list({event.transaction_id: event for event in history}.values())
    unique = [event._replace(currency="USD", latitude=None, longitude=None) for event in unique]
    shuffled = unique.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = state_after(unique), state_after(shuffled)
    assert one.recent_times_ms == other.recent_times_ms
    assert set(one.recent_ids) == set(other.recent_ids)
    assert one.hour_counts == other.hour_counts
    assert one.last_event_time_ms == other.last_event_time_ms
    for code, stats in one.amounts.items():
        assert stats.count == other.amounts[code].count
        assert stats.mean == pytest.approx(other.amounts[code].mean, rel=1e-12)


@given(histories(max_size=100))
def test_memory_is_bounded_and_agrees_with_the_whole_history(history: list[Transaction]) -> None:
    state = state_after(history)
    seen: list[Transaction] = []
    recent: list[str] = []
    for event in history:
        if event.transaction_id not in recent:
            seen.append(event)
            recent.append(event.transaction_id)
    assert list(state.recent_ids) == [transaction_fingerprint(name) for name in recent[-RING_CAPACITY:]]
    assert len(state.recent_times_ms) == min(len(seen), RING_CAPACITY)
    assert sum(state.hour_counts) == len(seen)
    assert len(state.amounts) <= MAX_CURRENCIES
    located = [event for event in seen if event.latitude is not None]
    assert state.located_at_ms == max((event.event_time_ms for event in located), default=None)
    assert len(state.to_bytes()) <= MAX_STATE_BYTES
    if len({event.currency for event in seen}) <= MAX_CURRENCIES:
        assert sum(stats.count for stats in state.amounts.values()) == len(seen)


def test_the_ring_holds_the_largest_times_when_nothing_is_late() -> None:
    times = np.sort(np.random.default_rng(5).integers(START_MS, START_MS + 10**9, 200))
    state = observe(CustomerFraudState(), *[transaction(f"t-{i}", int(time)) for i, time in enumerate(times)])
    assert list(state.recent_times_ms) == times[-RING_CAPACITY:].tolist()


def test_fingerprints_are_pinned() -> None:
    """They are in every savepoint: another hash would let each customer's recent transactions be scored twice."""
    assert transaction_fingerprint("t-1") == 0xC20B9BF0155141C3
    assert transaction_fingerprint("") == 0xB4B2797457A0A6E4
