"""Data sets: from events to rows, and the split by time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.cards.card_files import SourceEvent
from flink_jobs.core.features.table import FEATURE_NAMES
from ml.dataset import FRAUD, GENUINE, UNKNOWN, Dataset, build_dataset
from ml.splitting import split_by_time
from tests.unit.ml.synthetic import NOW_MS, START_MS, dataset, events


def timed(times: list[int]) -> Dataset:
    count = len(times)
    return replace(dataset(count), event_time_ms=np.array(times, dtype=np.int64))


def test_every_event_the_stream_would_score_is_a_row() -> None:
    given_events = events(500)
    built = build_dataset(given_events, NOW_MS)
    unique = {event.transaction["transaction_id"]: event for event in given_events}
    assert len(unique) < len(given_events)
    assert len(built) == len(unique)
    assert built.event_time_ms.tolist() == [event.transaction["event_time_ms"] for event in unique.values()]
    assert built.labels.tolist() == [FRAUD if event.label else GENUINE for event in unique.values()]
    assert np.isfinite(built.inputs).all()
    assert built.rejected == 0


def test_events_that_the_stream_rejects_are_counted_and_left_out() -> None:
    good = events(20)
    bad = [replace(good[0], transaction=good[0].transaction | {"amount_minor": -1}), SourceEvent({"currency": "USD"})]
    built = build_dataset([*bad, *good], NOW_MS)
    assert built.rejected == 2
    assert built.digest() == build_dataset(good, NOW_MS).digest()


def test_a_source_without_labels() -> None:
    built = build_dataset([replace(event, label=None) for event in events(20)], NOW_MS)
    assert set(built.labels.tolist()) == {UNKNOWN}


def test_no_events_make_an_empty_data_set() -> None:
    assert build_dataset([], NOW_MS).inputs.shape == (0, len(FEATURE_NAMES))


def test_labels_never_reach_the_features() -> None:
    flipped = [replace(event, label=not event.label) for event in events(200)]
    one, other = build_dataset(events(200), NOW_MS), build_dataset(flipped, NOW_MS)
    assert one.digest() == other.digest()
    assert (one.labels != other.labels).all()


def test_the_digest_sees_rows_and_times() -> None:
    original = dataset(50)
    changed_input = original.features.copy()
    changed_input[3, 2] = np.nextafter(changed_input[3, 2], 9.0)
    variants = [
        original,
        replace(original, features=changed_input),
        replace(original, event_time_ms=original.event_time_ms + 1),
        original.where(np.arange(50) < 49),
    ]
    assert len({variant.digest() for variant in variants}) == len(variants)


@given(st.lists(st.integers(0, 10), min_size=1, max_size=60), st.floats(0.01, 1.0))
def test_the_split_is_at_a_timestamp(times: list[int], fraction: float) -> None:
    early, late = split_by_time(timed(times), fraction)
    assert len(early) + len(late) == len(times)
    assert len(early) >= 1
    if len(late):
        assert early.event_time_ms.max() < late.event_time_ms.min()


@pytest.mark.parametrize(("fraction", "expected"), [(0.5, 50), (0.7, 70), (1.0, 100)])
def test_the_split_takes_its_share(fraction: float, expected: int) -> None:
    early, late = split_by_time(timed(list(range(100))), fraction)
    assert (len(early), len(late)) == (expected, 100 - expected)


def test_rows_with_equal_timestamps_stay_on_one_side_of_the_split() -> None:
    early, late = split_by_time(timed([START_MS] * 10), 0.5)
    assert (len(early), len(late)) == (10, 0)
