"""The bytes of a state: round trip, versions of the past, damage of every byte, bytes of the future."""

import contextlib
import math
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.features.table import USUAL_SURPRISE
from flink_jobs.core.state.category_habits import MAX_CATEGORIES, category_key
from flink_jobs.core.state.codec import (
    MAX_BYTES_WITHOUT_OLDER,
    MAX_STATE_BYTES,
    NEWEST_VERSION,
    STATE_VERSION,
    StateCorrupt,
    StateError,
    StateVersionUnsupported,
    max_state_bytes,
)
from flink_jobs.core.state.customer import CustomerFraudState, transaction_fingerprint
from flink_jobs.core.state.fields import HOURS, MAX_CURRENCIES, RING_CAPACITY
from flink_jobs.core.state.older_ids import DuplicateWindow
from flink_jobs.core.state.running_stats import RunningStats
from tests.strategies import states

GOLDEN = sorted((Path(__file__).parent / "golden").glob("state_v*.hex"))
NAMES = [path.stem for path in GOLDEN]


def blob_of(path: Path) -> bytes:
    return bytes.fromhex(path.read_text())


def resealed(version: int, body: bytes) -> bytes:
    """Return bytes with a right checksum."""
    return struct.pack("<BI", version, zlib.crc32(body, version)) + body


def full() -> bytes:
    return blob_of(next(path for path in GOLDEN if path.stem == "state_v3_full"))


@given(states)
def test_a_state_survives_its_bytes(state: CustomerFraudState) -> None:
    blob = state.to_bytes()
    restored = CustomerFraudState.from_bytes(blob)
    assert restored == state
    assert restored.to_bytes() == blob
    assert len(blob) <= MAX_STATE_BYTES


def test_the_largest_state_is_as_large_as_announced() -> None:
    state = CustomerFraudState.from_bytes(full())
    assert len(state.recent_ids) == RING_CAPACITY
    assert len(state.amounts) == MAX_CURRENCIES
    assert len(full()) == MAX_BYTES_WITHOUT_OLDER == 1_263
    assert max_state_bytes(DuplicateWindow(7, 32)) == MAX_BYTES_WITHOUT_OLDER
    assert MAX_STATE_BYTES == max_state_bytes(DuplicateWindow(7, 5_000)) == 1_263 + (4_968 + 128) * 8 + 9 * 4


def test_there_are_golden_blobs_of_every_version_ever_written() -> None:
    versions = {blob_of(path)[0] for path in GOLDEN}
    assert versions == set(range(1, NEWEST_VERSION + 1))
    assert len(GOLDEN) >= 4


@pytest.mark.parametrize("path", GOLDEN, ids=NAMES)
def test_a_golden_blob_is_decoded_for_ever(path: Path) -> None:
    blob = blob_of(path)
    state = CustomerFraudState.from_bytes(blob)
    if blob[0] in {STATE_VERSION, NEWEST_VERSION}:
        assert state.to_bytes() == blob
    assert CustomerFraudState.from_bytes(state.to_bytes()) == state


def test_the_golden_values_of_version_1() -> None:
    """The meaning, not only the bytes: a decoder that swaps two fields must fail here."""
    by_name = {path.stem: CustomerFraudState.from_bytes(blob_of(path)) for path in GOLDEN}
    assert by_name["state_v1_new_customer"] == CustomerFraudState()

    one = by_name["state_v1_one_without_place"]
    assert list(one.recent_times_ms) == [1_704_067_202_000]
    assert list(one.recent_ids) == [transaction_fingerprint("t-0")]
    assert list(one.hour_counts) == [1] + [0] * (HOURS - 1)
    assert one.amounts == {"USD": RunningStats(1, 19.99, 0.0)}
    assert one.located_at_ms is None

    whole = by_name["state_v1_full"]
    assert whole.has_seen(transaction_fingerprint("t-49"))
    assert whole.last_event_time_ms == 1_704_067_202_000 + 49 * 1_234_567
    assert whole.located_at_ms == whole.last_event_time_ms
    assert (whole.latitude, whole.longitude) == (48.0 + 4.9, 2.0 - 7.0)
    assert sum(whole.hour_counts) == 50

    overflow = by_name["state_v1_hour_overflow"]
    assert (overflow.hour_counts[0], overflow.hour_counts[23]) == (0x8000, 3)


def test_a_version_1_state_is_upgraded_with_what_it_knew() -> None:
    """Regression net for savepoints of the first release: nothing is invented, the usual rate is known at once."""
    whole = CustomerFraudState.from_bytes(blob_of(next(path for path in GOLDEN if path.stem == "state_v1_full")))
    assert (whole.first_seen_ms, whole.seen_count) == (whole.recent_times_ms[0], RING_CAPACITY)
    assert list(whole.recent_surprises) == pytest.approx([USUAL_SURPRISE] * RING_CAPACITY)
    assert set(whole.recent_multiples) == {1.0}
    assert len(whole.habits.keys) == 0
    for currency, stats in whole.amounts.items():
        logs = whole.log_amounts[currency]
        variance = math.log1p(stats.variance / stats.mean**2) if stats.count > 1 else 0.0
        assert logs.count == stats.count
        assert logs.mean == pytest.approx(math.log1p(stats.mean) - variance / 2)
        assert logs.m2 == pytest.approx(variance * (stats.count - 1))
    assert CustomerFraudState.from_bytes(whole.to_bytes()) == whole


def test_the_golden_values_of_version_2() -> None:
    by_name = {path.stem: CustomerFraudState.from_bytes(blob_of(path)) for path in GOLDEN}
    assert by_name["state_v2_new_customer"] == CustomerFraudState()

    one = by_name["state_v2_one_without_category"]
    assert (one.first_seen_ms, one.seen_count, len(one.habits.keys)) == (1_704_067_202_000, 1, 0)
    assert one.log_amounts == {"USD": RunningStats(1, math.log1p(19.99), 0.0)}
    assert list(one.recent_surprises) == pytest.approx([0.8])
    assert list(one.recent_multiples) == [1.0]

    whole = by_name["state_v2_full"]
    assert (whole.first_seen_ms, whole.seen_count) == (1_704_067_202_000, 50)
    assert list(whole.recent_surprises) == [index / 8 for index in range(18, 50)]
    assert len(whole.habits.keys) == MAX_CATEGORIES
    place = whole.habits.place(category_key("k-3", "GBP"))  # purchases 3 and 39 of 4.0 and 5.0
    assert whole.habits.counts[place] == 2
    assert whole.habits.means[place] == pytest.approx((math.log1p(4.0) + math.log1p(5.0)) / 2)
    assert whole.habits.m2s[place] == pytest.approx((math.log1p(5.0) - math.log1p(4.0)) ** 2 / 2)


def test_the_golden_values_of_version_3() -> None:
    by_name = {path.stem: CustomerFraudState.from_bytes(blob_of(path)) for path in GOLDEN}
    for name in ("full", "new_customer"):  # version 2 did not count what arrived in order
        assert by_name[f"state_v3_{name}"] == by_name[f"state_v2_{name}"]
    assert by_name["state_v3_one_without_category"].in_order_count == 1

    state = by_name["state_v3_older_ids"]  # t-100 of 130 arrived 20 days late; twelve transactions a day
    older = state.older
    assert older is not None
    assert state.in_order_count == 29
    assert [state.has_seen(transaction_fingerprint(f"t-{number}")) for number in range(130)] == [False] * 36 + [
        True
    ] * 94
    assert list(older.page_days) == [19_726, 19_727, 19_728, 19_731, 19_732, 19_733]
    assert list(older.page_counts) == [12, 12, 8, 8, 12, 10]


def test_an_older_release_finds_its_checksum_in_a_newer_state() -> None:
    """It must report a newer version and keep the bytes. With another checksum it would reset the customer."""
    blob = next(blob_of(path) for path in GOLDEN if path.stem == "state_v3_older_ids")
    version, checksum = struct.unpack_from("<BI", blob)
    assert checksum == zlib.crc32(blob[5:], version)


@pytest.mark.parametrize("path", GOLDEN, ids=NAMES)
def test_damage_of_any_byte_is_noticed(path: Path) -> None:
    blob = blob_of(path)
    for position in range(len(blob)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(blob)
            damaged[position] ^= flip
            with pytest.raises(StateCorrupt):
                CustomerFraudState.from_bytes(bytes(damaged))


@pytest.mark.parametrize("path", GOLDEN, ids=NAMES)
def test_a_cut_or_extended_blob_is_noticed(path: Path) -> None:
    blob = blob_of(path)
    for length in range(len(blob)):
        with pytest.raises(StateCorrupt):
            CustomerFraudState.from_bytes(blob[:length])
    for tail in (b"\0", b"\xff" * 27, blob):
        with pytest.raises(StateCorrupt):
            CustomerFraudState.from_bytes(blob + tail)


@given(st.binary(max_size=800))
def test_foreign_bytes_are_corrupt_whatever_they_are(blob: bytes) -> None:
    with pytest.raises(StateError):
        CustomerFraudState.from_bytes(blob)


@given(st.binary(max_size=720))
def test_a_body_with_a_right_checksum_is_decoded_or_corrupt(body: bytes) -> None:
    """No other exception: struct.error, IndexError or UnicodeDecodeError would leave the customer stuck."""
    with contextlib.suppress(StateCorrupt):
        CustomerFraudState.from_bytes(resealed(2, body))
    with contextlib.suppress(StateCorrupt):
        CustomerFraudState.from_bytes(resealed(3, body))
    try:
        state = CustomerFraudState.from_bytes(resealed(1, body))
    except StateCorrupt:
        return
    assert len(state.recent_times_ms) == len(state.recent_ids) <= RING_CAPACITY


COUNTS_AT = 5 + 24 + 2 * HOURS


@pytest.mark.parametrize(
    ("n_recent", "n_currencies", "tail"),
    [(33, 0, 33 * 16), (255, 0, 255 * 16), (0, 1, 0), (1, 0, 15), (0, 0, 1), (2, 255, 32)],
    ids=["33 recent", "255 recent", "no currency", "half an id", "one byte more", "255 currencies"],
)
def test_a_body_that_is_not_as_long_as_it_says_is_corrupt(n_recent: int, n_currencies: int, tail: int) -> None:
    """Guards a defect: bytes after the last currency were ignored."""
    body = bytes(24 + 2 * HOURS) + bytes([n_recent, n_currencies]) + bytes(tail)
    with pytest.raises(StateCorrupt):
        CustomerFraudState.from_bytes(resealed(1, body))


@pytest.mark.parametrize(
    ("n_pages", "n_older", "counts"),
    [(1, 0, [0]), (0, 1, []), (1, 1, [2]), (2, 1, [1]), (1, 2**31, [1]), (65_535, 1, [1])],
    ids=["pages without ids", "ids without pages", "too many in a page", "a page missing", "2 G ids", "65,535 pages"],
)
def test_older_ids_that_do_not_match_their_pages_are_corrupt(n_pages: int, n_older: int, counts: list[int]) -> None:
    body_v2 = CustomerFraudState().to_bytes()[5:-7]
    pages = struct.pack(f"<{2 * len(counts)}H", *[19_726] * len(counts), *counts)
    body = bytes(8) + body_v2 + pages + struct.pack("<BHI", 0, n_pages, n_older)
    with pytest.raises(StateCorrupt):
        CustomerFraudState.from_bytes(resealed(3, body))


def test_a_currency_that_is_no_text_is_corrupt() -> None:
    body = bytearray(blob_of(next(path for path in GOLDEN if path.stem == "state_v1_full"))[5:])
    body[-27:-24] = b"\xff\xfe\xfd"
    with pytest.raises(StateCorrupt):
        CustomerFraudState.from_bytes(resealed(1, bytes(body)))


@pytest.mark.parametrize("version", [NEWEST_VERSION + 1, 7, 255])
def test_a_newer_version_is_refused_by_name(version: int) -> None:
    with pytest.raises(
        StateVersionUnsupported, match=rf"state version {version}; this release reads versions up to {NEWEST_VERSION}"
    ):
        CustomerFraudState.from_bytes(resealed(version, full()[5:]))


@pytest.mark.parametrize("size", [5, 6, 79, 699])
def test_zeros_are_corrupt_not_of_another_version(size: int) -> None:
    """Guards a defect: zeros pass their own checksum, and version 0 was taken for a newer release."""
    with pytest.raises(StateCorrupt):
        CustomerFraudState.from_bytes(bytes(size))
