"""Whether every record that the detector has read has its outcome in the raw tables.

An offset without an outcome is not always a lost record. The evidence that tells the cases apart:

- **redelivered and decided again**: the row of a decision carries the offset of its latest record;
  ``ops.superseded_decisions`` keeps the offsets of the earlier ones;
- **no record**: the ends of transactions and the records of aborted transactions take offsets that no reader of
  committed records sees. A reader looks at such offsets once; ``ops.offsets_without_record`` keeps the result;
- **deleted by retention**: ``ops.completeness_start`` is the first offset whose row retention has not reached;
- **expired in Kafka**: offsets before the first one that Kafka still holds are not compared.

Every other offset without an outcome is a lost record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psycopg

if TYPE_CHECKING:
    from flink_jobs.kafka.positions import PartitionPosition


class OffsetRange(NamedTuple):
    """Consecutive offsets of one partition, both ends included."""

    partition: int
    first: int
    last: int


Reader = Callable[[Sequence[OffsetRange]], set[tuple[int, int]]]
"""Takes ranges of the input topic and returns the (partition, offset) pairs that hold a committed record."""

_GAPS: Final = """
    WITH partitions AS (
        SELECT * FROM unnest(%(partition)s::integer[], %(first)s::bigint[], %(read)s::bigint[])
            AS of_kafka (partition, kafka_first, read_offset)
    ),
    asked AS (
        SELECT partition, read_offset,
            greatest(kafka_first, coalesce(start_of.first_offset, kafka_first)) AS begin_offset
        FROM partitions LEFT JOIN ops.completeness_start AS start_of
            ON start_of.source_topic = %(topic)s AND start_of.source_partition = partition
    ),
    points AS (
        SELECT partition, begin_offset - 1 AS at FROM asked
        UNION SELECT partition, greatest(read_offset, begin_offset) FROM asked
        UNION SELECT partition, source_offset FROM asked JOIN ops.input_outcomes
            ON source_topic = %(topic)s AND source_partition = partition
            AND source_offset BETWEEN begin_offset AND read_offset - 1
    ),
    following AS (
        SELECT partition, at, lead(at) OVER (PARTITION BY partition ORDER BY at) AS next_at FROM points
    )
    SELECT partition, at + 1, next_at - 1 FROM following WHERE next_at > at + 1 ORDER BY 1, 2"""
_KNOWN: Final = """
    SELECT partition, first_offset, last_offset FROM ops.offsets_without_record WHERE topic = %s ORDER BY 1, 2"""
_KEEP: Final = """
    INSERT INTO ops.offsets_without_record (topic, partition, first_offset, last_offset) VALUES (%s, %s, %s, %s)
    ON CONFLICT DO NOTHING"""
_DECIDED_AGAIN: Final = """
    SELECT source_partition, count(*) FROM ops.superseded_decisions WHERE source_topic = %s GROUP BY 1"""
_NOTE: Final = """
    INSERT INTO ops.kafka_positions (
        topic, partition, first_offset, end_offset, read_offset, waiting, missing, decided_again, without_record)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (topic, partition) DO UPDATE SET
        first_offset = EXCLUDED.first_offset, end_offset = EXCLUDED.end_offset, read_offset = EXCLUDED.read_offset,
        waiting = EXCLUDED.waiting, missing = EXCLUDED.missing, decided_again = EXCLUDED.decided_again,
        without_record = EXCLUDED.without_record, observed_at = now()"""


class Compared(NamedTuple):
    """A partition, and what the raw tables hold of it.

    Attributes:
        position: its offsets in Kafka.
        missing: records that the detector has read and that have no decision and no dead letter; None for topics that
            are not the detector's input.
        decided_again: records whose decision was replaced by the decision of a later record of the same transaction.
        without_record: compared offsets that hold no committed record.
    """

    position: PartitionPosition
    missing: int | None
    decided_again: int | None = None
    without_record: int | None = None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing, and nothing waits for the archive."""
        return not self.missing and (self.missing is not None or not self.position.waiting)


def compare(
    dsn: str, positions: Sequence[PartitionPosition], transactions: str, read: Reader | None = None
) -> list[Compared]:
    """Compare Kafka with the raw tables and record the result in ``ops.kafka_positions``.

    Args:
        dsn: connection string of the transformer.
        positions: of every partition.
        transactions: full name of the detector's input topic.
        read: looks at offsets without an outcome in Kafka; without it, each of them counts as missing.
    """
    inputs = [item for item in positions if item.topic == transactions]
    parameters = {
        "topic": transactions,
        "partition": [item.partition for item in inputs],
        "first": [item.first_offset for item in inputs],
        "read": [item.first_offset if item.read_offset is None else item.read_offset for item in inputs],
    }
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        gaps = list(map(OffsetRange._make, cursor.execute(_GAPS, parameters).fetchall()))
        known = list(map(OffsetRange._make, cursor.execute(_KNOWN, (transactions,)).fetchall()))
        open_gaps = subtract(gaps, known)
        if read is not None and open_gaps:
            found = without_records(open_gaps, read(open_gaps))
            cursor.executemany(_KEEP, [(transactions, *item) for item in found])
            open_gaps = subtract(open_gaps, found)
        missing, all_gaps = _sizes(open_gaps), _sizes(gaps)
        again: dict[int, int] = dict(cursor.execute(_DECIDED_AGAIN, (transactions,)).fetchall())
        compared = [
            _of_input(item, missing, all_gaps, again) if item.topic == transactions else Compared(item, None)
            for item in positions
        ]
        cursor.executemany(_NOTE, [_row(item) for item in compared])
    return compared


def _of_input(
    position: PartitionPosition, missing: dict[int, int], gaps: dict[int, int], again: dict[int, int]
) -> Compared:
    number = position.partition
    lost = missing.get(number, 0)
    return Compared(position, lost, again.get(number, 0), gaps.get(number, 0) - lost)


def _row(item: Compared) -> tuple[Any, ...]:
    p = item.position
    place = (p.topic, p.partition, p.first_offset, p.end_offset, p.read_offset, p.waiting)
    return (*place, item.missing, item.decided_again, item.without_record)


def _sizes(ranges: Iterable[OffsetRange]) -> dict[int, int]:
    sizes: dict[int, int] = {}
    for partition, first, last in ranges:
        sizes[partition] = sizes.get(partition, 0) + last - first + 1
    return sizes


def subtract(ranges: Iterable[OffsetRange], others: Sequence[OffsetRange]) -> list[OffsetRange]:
    """Return the parts of ``ranges`` that no range of ``others`` covers.

    Args:
        ranges: without overlaps, in order within each partition.
        others: likewise.
    """
    left: list[OffsetRange] = []
    of_partition: dict[int, list[OffsetRange]] = {}
    for other in others:
        of_partition.setdefault(other.partition, []).append(other)
    positions = dict.fromkeys(of_partition, 0)
    for partition, first, last in ranges:
        candidates = of_partition.get(partition, [])
        index = positions.get(partition, 0)
        while index < len(candidates) and candidates[index].last < first:
            index += 1
        positions[partition] = index
        begin = first
        while index < len(candidates) and candidates[index].first <= last and begin <= last:
            if candidates[index].first > begin:
                left.append(OffsetRange(partition, begin, candidates[index].first - 1))
            begin = max(begin, candidates[index].last + 1)
            index += 1
        if begin <= last:
            left.append(OffsetRange(partition, begin, last))
    return left


def without_records(ranges: Iterable[OffsetRange], records: set[tuple[int, int]]) -> list[OffsetRange]:
    """Return the parts of ``ranges`` that hold no record, given the (partition, offset) pairs that hold one."""
    held = [OffsetRange(partition, offset, offset) for partition, offset in sorted(records)]
    return subtract(ranges, held)
