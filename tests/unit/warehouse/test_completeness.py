"""Ranges of offsets: what remains of some after others are taken away, compared with sets of offsets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.warehouse.completeness import OffsetRange, subtract, without_records

Offsets = set[tuple[int, int]]


def ranges_of(offsets: Offsets) -> list[OffsetRange]:
    """Return the offsets as the fewest ranges, in order."""
    found: list[OffsetRange] = []
    for partition, offset in sorted(offsets):
        if found and found[-1].partition == partition and found[-1].last == offset - 1:
            found[-1] = found[-1]._replace(last=offset)
        else:
            found.append(OffsetRange(partition, offset, offset))
    return found


def offsets_of(ranges: list[OffsetRange]) -> Offsets:
    return {(item.partition, offset) for item in ranges for offset in range(item.first, item.last + 1)}


OFFSETS = st.sets(st.tuples(st.integers(0, 2), st.integers(0, 40)))


@given(OFFSETS, OFFSETS)
def test_subtraction_of_ranges_is_subtraction_of_their_offsets(
    some: set[tuple[int, int]], others: set[tuple[int, int]]
) -> None:
    left = subtract(ranges_of(some), ranges_of(others))
    assert offsets_of(left) == some - others
    assert sum(item.last - item.first + 1 for item in left) == len(some - others), "no offset is counted twice"
    assert left == sorted(left)


@given(OFFSETS, OFFSETS)
def test_offsets_without_a_record_are_those_that_no_reader_found(
    asked: set[tuple[int, int]], held: set[tuple[int, int]]
) -> None:
    assert offsets_of(without_records(ranges_of(asked), held)) == asked - held
