"""The state of a merchant: equal to a plain sum over all events, independent of order, bounded, and stored as bytes."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.features.entity_risk import (
    DEFAULT_DELAY_DAYS,
    MAX_LOG_RATIO,
    RISK_SPECS,
    SETTLE_MS,
    WINDOW_DAYS,
    Entity,
    risk_at,
    risk_inputs,
    slot_of,
)
from flink_jobs.core.state.codec import StateCorrupt, StateError, StateVersionUnsupported
from flink_jobs.core.state.merchant import (
    MAX_FRAUD_IDS,
    SLOT_MS,
    MerchantState,
    kept_slots,
    log_units,
    max_merchant_bytes,
)

DAY_MS = 86_400_000
START_MS = 1_750_000_000_000
GOLDEN = Path(__file__).parent / "golden" / "merchant_v1.hex"
Event = tuple[int, float, bool]

amounts = st.floats(0.0, 1e10)
steps = st.tuples(st.integers(0, 4 * DAY_MS), st.integers(0, DAY_MS), amounts, st.booleans())


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Events of up to some hundred days; each is at most a day earlier than the newest event before it."""
    newest, events = START_MS, []
    for gap, late, amount, fraud in draw(st.lists(steps, min_size=1, max_size=60)):
        newest += gap
        events.append((newest - late, amount, fraud))
    return events


def by_hand(earlier: list[Event], now_ms: int, delay_days: int) -> list[tuple[int, int, int, int]]:
    """Add up all earlier events with numpy, with times instead of slots."""
    boundary = (now_ms - SETTLE_MS) // SLOT_MS * SLOT_MS
    times = np.array([time_ms for time_ms, _, _ in earlier], dtype=np.int64)
    logs = np.array([log_units(amount) for _, amount, _ in earlier], dtype=np.int64)
    fraud = np.array([is_fraud for _, _, is_fraud in earlier], dtype=bool)
    rows = []
    for days in WINDOW_DAYS:
        recent = (times >= boundary - days * DAY_MS) & (times < boundary)
        end = boundary - delay_days * DAY_MS
        due = (times >= end - days * DAY_MS) & (times < end)
        rows.append((int(recent.sum()), int(logs[recent].sum()), int(due.sum()), int((due & fraud).sum())))
    return rows


@given(histories(), st.integers(0, 14))
def test_the_numbers_equal_a_sum_over_all_earlier_events(events: list[Event], delay_days: int) -> None:
    blob: bytes | None = None
    for number, (time_ms, amount, is_fraud) in enumerate(events):
        state = MerchantState(blob)
        assert [tuple(row) for row in risk_at(state, slot_of(time_ms), delay_days)] == by_hand(
            events[:number], time_ms, delay_days
        )
        assert state.update(time_ms, amount, delay_days)
        if is_fraud:
            assert state.learn(number, time_ms, is_fraud=True)
        blob = state.to_bytes()
        assert len(blob) <= max_merchant_bytes(delay_days)


@given(histories())
def test_a_label_that_arrives_at_its_delay_gives_the_same_numbers_as_one_that_arrives_at_once(
    events: list[Event],
) -> None:
    early, due = MerchantState(), MerchantState()
    waiting: list[tuple[int, int]] = []
    for number, (time_ms, amount, is_fraud) in enumerate(events):
        known = [label for label in waiting if label[1] + DEFAULT_DELAY_DAYS * DAY_MS <= time_ms]
        for label in known:
            due.learn(label[0], label[1], is_fraud=True)
            waiting.remove(label)
        at = slot_of(time_ms)
        assert risk_at(early, at, DEFAULT_DELAY_DAYS) == risk_at(due, at, DEFAULT_DELAY_DAYS)
        for state in (early, due):
            state.update(time_ms, amount, DEFAULT_DELAY_DAYS)
        if is_fraud:
            early.learn(number, time_ms, is_fraud=True)
            waiting.append((number, time_ms))


@given(st.lists(st.tuples(st.integers(0, 30 * DAY_MS), amounts, st.booleans()), max_size=40), st.randoms())
def test_the_order_of_arrival_does_not_change_the_numbers(events: list[Event], random: object) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    results = []
    for order in (events, shuffled):
        state = MerchantState()
        for offset, amount, _ in order:
            state.update(START_MS + offset, amount, DEFAULT_DELAY_DAYS)
        for offset, amount, is_fraud in order:
            state.learn(hash((offset, amount)) % 2**64, START_MS + offset, is_fraud=is_fraud)
        results.append(risk_at(state, slot_of(START_MS + 38 * DAY_MS), DEFAULT_DELAY_DAYS))
    if len({(offset, amount) for offset, amount, _ in events}) == len(events):
        assert results[0] == results[1]


def test_a_label_counts_once_and_can_be_corrected() -> None:
    state = MerchantState()
    state.update(START_MS, 10.0, 7)
    assert not state.learn(1, START_MS, is_fraud=False), "genuine is what an unlabelled transaction counts as"
    assert state.learn(1, START_MS, is_fraud=True)
    assert not state.learn(1, START_MS, is_fraud=True), "the same label again"
    later = slot_of(START_MS + 8 * DAY_MS)
    assert risk_at(state, later, 7)[0].frauds == 1
    assert state.learn(1, START_MS, is_fraud=False)
    assert risk_at(state, later, 7)[0].frauds == 0
    assert not state.learn(2, START_MS - DAY_MS, is_fraud=True), "no transaction of this time is known"
    assert not state.learn(2, START_MS + DAY_MS, is_fraud=True)


def test_a_label_counts_from_the_slot_after_its_delay() -> None:
    boundary = START_MS // SLOT_MS * SLOT_MS
    state = MerchantState()
    state.update(boundary - 1, 10.0, 7)
    state.learn(1, boundary - 1, is_fraud=True)
    counts_from = boundary + 7 * DAY_MS + SETTLE_MS
    assert risk_at(state, slot_of(counts_from - 1), 7)[2].frauds == 0
    assert risk_at(state, slot_of(counts_from), 7)[2].frauds == 1


def test_an_event_older_than_the_kept_slots_does_not_count() -> None:
    state = MerchantState()
    assert state.update(START_MS, 1.0, 7)
    before = state.to_bytes()
    assert not state.update(START_MS - kept_slots(7) * SLOT_MS, 1.0, 7)
    assert state.to_bytes() == before
    assert state.update(START_MS + kept_slots(7) * SLOT_MS, 1.0, 7)
    assert len(state.slots) == 1, "the old slot is forgotten"


def test_a_full_state_is_as_large_as_announced() -> None:
    state = MerchantState()
    for number in range(2_000):
        time_ms = START_MS + number * SLOT_MS // 2
        state.update(time_ms, float(number), 7)
        state.learn(number, time_ms, is_fraud=True)
    assert len(state.fraud_ids) == MAX_FRAUD_IDS
    assert len(state.to_bytes()) == max_merchant_bytes(7) == 6_201
    assert state.frauds[3] == 2, "frauds are counted beyond the labels that are recognised again"


def test_the_inputs_are_in_their_range_and_an_absent_amount_is_no_number() -> None:
    empty = risk_inputs(risk_at(MerchantState(), 1_000, 7), 5.0)
    assert empty == (0.0, None, 0.0, 0.0) * 3
    state = MerchantState()
    for hour in range(24 * 40):
        state.update(START_MS + hour * 3_600_000, 1e10, 7)
        state.learn(hour, START_MS + hour * 3_600_000, is_fraud=True)
    inputs = risk_inputs(risk_at(state, slot_of(START_MS + 40 * DAY_MS), 7), 0.0)
    for spec, value in zip(RISK_SPECS[Entity.MERCHANT], inputs, strict=True):
        assert value is not None
        assert spec.low <= value <= spec.high
    assert inputs[1] == -MAX_LOG_RATIO
    assert risk_inputs(risk_at(state, slot_of(START_MS + 40 * DAY_MS), 7), 1e10)[1] == 0.0
    assert inputs[3] == inputs[7] == inputs[11] == 1.0


def test_the_state_of_version_1_stays_readable() -> None:
    state = MerchantState(bytes.fromhex(GOLDEN.read_text(encoding="ascii")))
    assert list(state.slots) == [81_018, 81_020]
    assert list(state.counts) == [2, 1]
    assert list(state.frauds) == [1, 0]
    assert list(state.fraud_ids) == [77]
    assert list(state.fraud_slots) == [81_018]
    assert list(state.log_sums) == [log_units(12.5) + log_units(3.0), log_units(99.0)]


@given(st.data())
def test_damaged_bytes_are_refused(data: st.DataObject) -> None:
    blob = bytearray.fromhex(GOLDEN.read_text(encoding="ascii"))
    place = data.draw(st.integers(0, len(blob) - 1))
    blob[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StateError):
        MerchantState(bytes(blob))
    with pytest.raises(StateCorrupt):
        MerchantState(bytes(blob[: data.draw(st.integers(0, len(blob) - 1))]))


def test_bytes_of_a_newer_release_and_of_a_wrong_length_are_refused() -> None:
    body = bytes.fromhex(GOLDEN.read_text(encoding="ascii"))[5:]
    with pytest.raises(StateVersionUnsupported):
        MerchantState(struct.pack("<BI", 2, zlib.crc32(body, zlib.crc32(b"\x02"))) + body)
    short = body[:-1]
    with pytest.raises(StateCorrupt, match="another length"):
        MerchantState(struct.pack("<BI", 1, zlib.crc32(short, zlib.crc32(b"\x01"))) + short)
