"""Events reach training oldest first, whatever the order of the file."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from flink_jobs.cards.card_files import SourceEvent
from flink_jobs.cards.time_order import oldest_first, sorted_by_time

if TYPE_CHECKING:
    from collections.abc import Iterable


def event(number: int, time_ms: int) -> SourceEvent:
    return SourceEvent({"transaction_id": f"t-{number}", "event_time_ms": time_ms}, number % 2 == 0, "burst", "old")


OLDEST_FIRST = [event(number, number // 3) for number in range(100)]


def test_a_file_that_is_oldest_first_is_read_once() -> None:
    notes: list[int] = []
    assert oldest_first(lambda: iter(OLDEST_FIRST), list, notes.append) == OLDEST_FIRST
    assert notes == []


@pytest.mark.parametrize("run_events", [7, 50, 100, 1_000])
def test_a_file_that_is_newest_first_gives_the_same_order(run_events: int) -> None:
    assert list(sorted_by_time(reversed(OLDEST_FIRST), run_events)) == OLDEST_FIRST


@pytest.mark.parametrize("run_events", [7, 1_000])
def test_events_of_one_time_keep_their_order(run_events: int) -> None:
    mixed = [*OLDEST_FIRST[50:], *OLDEST_FIRST[:50]]
    assert list(sorted_by_time(mixed, run_events)) == sorted(mixed, key=lambda item: item.transaction["event_time_ms"])
    shuffled = list(OLDEST_FIRST)
    random.Random(1).shuffle(shuffled)  # noqa: S311 - a repeatable order
    times = [item.transaction["event_time_ms"] for item in sorted_by_time(shuffled, run_events)]
    assert times == sorted(times)


def test_the_sort_is_reported_and_the_events_are_used_anew() -> None:
    notes: list[int] = []
    uses: list[list[SourceEvent]] = []

    def use(events: Iterable[SourceEvent]) -> int:
        uses.append([])
        for item in events:
            uses[-1].append(item)
        return len(uses[-1])

    assert oldest_first(lambda: reversed(OLDEST_FIRST), use, notes.append) == 100
    assert notes == [2], "rows 1 to 2 of 100: 99 has a time of its own"
    assert uses[-1] == OLDEST_FIRST
